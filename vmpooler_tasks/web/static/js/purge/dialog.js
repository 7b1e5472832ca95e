/** The dialog that confirms a purge. */

import { post } from "../shared/api.js";
import { button, field, whyField } from "../shared/controls.js";
import { during, openDialog } from "../shared/dialogs.js";
import { el, notice } from "../shared/dom.js";
import { number } from "../shared/format.js";
import { countsList, entriesText } from "./report.js";

/** @import { Filters } from "../shared/route.js" */
/** @import { Features, PurgeReport } from "../shared/types.js" */

const FORCE_HINT = "Also purge queues that purge_max_percent protects: too large a share of their entries is old.";
const FORCE_HINT_WHEN_OFF = "Required: purge is switched off (purge_enabled: false). Also overrides purge_max_percent.";

/**
 * Open the dialog, and purge if it is confirmed.
 *
 * @param {PurgeReport} plan
 * @param {Filters} filter
 * @param {Features} features
 * @param {(report: PurgeReport) => void} onDone
 */
export function openPurgeDialog(plan, filter, features, onDone) {
  const dialog = openDialog("Purge");
  const force = el("input", { type: "checkbox" });
  const why = whyField();
  const confirm = button(
    plan.total ? `Purge ${number(plan.total)}` : "Purge",
    () =>
      during(confirm, dialog, async () => {
        const report = await post("purge", {
          dry_run: false,
          pools: filter.pool ? [filter.pool] : [],
          queues: filter.queue ? [filter.queue] : [],
          force: force.checked,
          why: why.input.value.trim() || null,
        });
        dialog.close();
        onDone(report);
      }),
    { kind: "danger" },
  );
  dialog.body.append(
    question(plan, filter),
    countsList(plan.found),
    el("p", {
      class: "muted",
      text: "VMs in use are not changed. Entries that became too old after the plan are purged as well.",
    }),
    features.purge_dry_run ? notice("warn", "purge_dry_run or observe_only is on: this purge changes nothing.") : "",
    field("Force", force, features.purge ? FORCE_HINT : FORCE_HINT_WHEN_OFF),
    why.node,
  );
  dialog.foot.append(confirm, button("Cancel", dialog.close));
}

/**
 * @param {PurgeReport} plan
 * @param {Filters} filter
 */
function question(plan, { queue, pool }) {
  const scope = `${queue ? `the queue ${queue}` : "all queues"} of ${pool ? `the pool ${pool}` : "all pools"}`;
  if (!plan.total) return el("p", { text: `The plan found nothing to purge. Purge ${scope} anyway?` });
  return el("p", {}, "Purge ", el("strong", { text: entriesText(plan) }), ` from ${scope}?`);
}
