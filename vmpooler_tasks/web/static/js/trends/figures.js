/** The figures of the history: sums over pools, distances between points, stretches of one status. */

/** @import { HistoryPoint, PoolPoint } from "../shared/types.js" */

/** A gap this many times longer than the usual distance is not bridged: no check ran in it. */
const GAP_FACTOR = 4;

/** @typedef {keyof PoolPoint | "dlq" | "orphaned"} FigureName */
/** @typedef {{at: number, status: string} & {[Name in FigureName]?: number}} Figures */
/** @typedef {{status: string, start: number, end: number}} Stretch */

/**
 * Return the figures of one point. Sizes are summed over the pools; of ages the highest counts.
 *
 * @param {HistoryPoint} point
 * @param {string} pool "": all pools
 * @returns {Figures}
 */
export function figuresOf(point, pool) {
  const pools = pool ? [point.pools[pool]].filter(Boolean) : Object.values(point.pools);
  /** @param {keyof PoolPoint} name */
  const valuesOf = (name) => pools.map((one) => one[name] ?? 0);
  /** @param {keyof PoolPoint} name */
  const sum = (name) => (pools.length ? valuesOf(name).reduce((total, value) => total + value, 0) : undefined);
  /** @param {keyof PoolPoint} name */
  const highest = (name) => (pools.length ? Math.max(...valuesOf(name)) : undefined);
  return {
    at: point.at,
    status: point.status,
    dlq: point.dlq,
    orphaned: point.orphaned,
    stuck: pool ? sum("stuck") : point.stuck,
    ready: sum("ready"),
    pending: sum("pending"),
    completed: sum("completed"),
    ready_oldest: highest("ready_oldest"),
    pending_oldest: highest("pending_oldest"),
  };
}

/**
 * Return the longest distance in seconds over which two points are joined: a multiple of the median distance.
 *
 * @param {{at: number}[]} points
 */
export function maxJoinSeconds(points) {
  const distances = points
    .slice(1)
    .map((point, index) => point.at - points[index].at)
    .sort((one, other) => one - other);
  return GAP_FACTOR * (distances[Math.floor(distances.length / 2)] ?? Infinity);
}

/**
 * Return the stretches of time with one status. A gap ends a stretch.
 *
 * @param {{at: number, status: string}[]} points
 * @returns {Stretch[]}
 */
export function stretchesOf(points) {
  const maxSeconds = maxJoinSeconds(points);
  /** @type {Stretch[]} */
  const stretches = [];
  for (const [index, { at, status }] of points.entries()) {
    const next = points[index + 1];
    const end = next && next.at - at <= maxSeconds ? next.at : at;
    const last = stretches.at(-1);
    if (last && last.status === status && last.end === at) last.end = end;
    else stretches.push({ status, start: at, end });
  }
  return stretches;
}

/**
 * Return the part of the points that each status has, in percent.
 *
 * @param {{status: string}[]} points
 * @returns {[string, number][]}
 */
export function sharesOf(points) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const { status } of points) counts.set(status, (counts.get(status) ?? 0) + 1);
  return [...counts].map(([status, count]) => [status, Math.round((100 * count) / points.length)]);
}
