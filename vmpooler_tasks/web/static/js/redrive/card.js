/** The card of one run: its progress, and the button that cancels it. */

import { mayOperate, post } from "../shared/api.js";
import { button } from "../shared/controls.js";
import { el, icon, part, setText, show } from "../shared/dom.js";
import { number } from "../shared/format.js";
import { countsText, stateText } from "./outcomes.js";

/** @import { RedriveRun } from "../shared/types.js" */

/**
 * @param {RedriveRun} run
 * @param {() => void} onHide
 */
export function createCard(run, onHide) {
  const hide = button("", onHide, { class: "quiet away", "aria-label": "Hide this run" });
  hide.append(icon("close"));
  return el(
    "li",
    { class: "run" },
    el(
      "p",
      { class: "run-head" },
      el("strong", { class: "run-state" }),
      el("span", { class: "muted", text: `run ${run.run}` }),
      el("span", { class: "spring" }),
      mayOperate() && cancelButton(run),
      hide,
    ),
    el("progress", { max: Math.max(1, run.selected), "aria-label": "Dead letters processed" }),
    el("p", { class: "results" }),
    el("p", { class: "waits muted", text: "Waiting: no worker serves vmpooler.maintenance." }),
  );
}

/** @param {RedriveRun} run */
function cancelButton(run) {
  const cancel = button("Cancel this run", sendCancel, { class: "cancel" });

  function sendCancel() {
    cancel.disabled = true;
    post(`redrives/${encodeURIComponent(run.run)}/cancel`, {}).catch(() => {
      cancel.disabled = false;
    });
  }
  return cancel;
}

/**
 * @param {HTMLElement} node
 * @param {RedriveRun} run
 * @param {boolean} hasWorker
 */
export function updateCard(node, run, hasWorker) {
  const isRunning = run.state === "running";
  setText(part(node, ".run-state"), stateText(run));
  const progress = node.querySelector("progress");
  if (progress) progress.value = run.position;
  setText(part(node, ".results"), `${number(run.position)} of ${number(run.selected)}: ${countsText(run)}`);
  if (mayOperate()) show(part(node, ".cancel"), isRunning);
  show(part(node, ".away"), !isRunning);
  show(part(node, ".waits"), isRunning && !hasWorker);
  node.dataset.state = run.state;
}
