/** The charts of the trends: which figures each one shows. */

import { Chart } from "./chart.js";

/** @import { ChartOptions } from "./chart.js" */

/** @type {Omit<ChartOptions, "onPoint">[]} */
const CHARTS = [
  {
    title: "VMs in the queues",
    unit: "number",
    series: [
      { name: "ready", label: "ready" },
      { name: "pending", label: "pending" },
      { name: "completed", label: "completed" },
    ],
  },
  {
    title: "Oldest VM",
    unit: "seconds",
    series: [
      { name: "ready_oldest", label: "ready" },
      { name: "pending_oldest", label: "pending" },
    ],
  },
  { title: "Dead letters", unit: "number", series: [{ name: "dlq", label: "dead letters" }] },
  {
    title: "Stuck and orphaned",
    unit: "number",
    series: [
      { name: "stuck", label: "stuck in pending" },
      { name: "orphaned", label: "orphaned metadata" },
    ],
  },
];

/** Orphaned metadata and most failures of tasks belong to no pool. */
const OF_ONE_POOL = CHARTS.slice(0, 2);

/**
 * Return the charts.
 *
 * @param {(index: number) => void} onPoint gets the index of the point under the mouse
 * @param {{isOfOnePool: boolean}} options
 */
export const createCharts = (onPoint, { isOfOnePool }) =>
  (isOfOnePool ? OF_ONE_POOL : CHARTS).map((options) => new Chart({ ...options, onPoint }));
