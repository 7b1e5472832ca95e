/** The health status over time: a strip of colours with a title each. A worse status is higher, too. */

import { svg } from "../shared/dom.js";
import { sharesOf, stretchesOf } from "./figures.js";

/** @import { Figures } from "./figures.js" */
/** @import { Frame } from "./chart.js" */

const HEIGHT = 18;
const MIN_WIDTH = 1.5;
/** Where the colour of a status starts, from the top. @type {Record<string, number>} */
const TOPS = { healthy: 12, degraded: 6, unhealthy: 0 };

/**
 * Return the strip.
 *
 * @param {Figures[]} points
 * @param {Frame} frame
 */
export function healthStrip(points, frame) {
  const stretches = stretchesOf(points).map(({ status, start, end }) => {
    const top = TOPS[status] ?? 0;
    const width = Math.max(MIN_WIDTH, frame.x(end) - frame.x(start));
    const box = { x: frame.x(start), y: top, width, height: HEIGHT - top };
    return svg("rect", { class: `stretch ${status}`, ...box }, svg("title", { text: status }));
  });
  return svg(
    "svg",
    {
      class: "strip",
      role: "img",
      height: HEIGHT,
      viewBox: `0 0 ${frame.width} ${HEIGHT}`,
      "aria-label": summaryOf(points),
    },
    stretches,
  );
}

/** @param {Figures[]} points */
function summaryOf(points) {
  const shares = sharesOf(points).map(([status, percent]) => `${status} ${percent} %`);
  return `Health status: ${shares.join(", ") || "no check recorded in this time"}`;
}
