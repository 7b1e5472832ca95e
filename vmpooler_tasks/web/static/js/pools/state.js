/** The state of a pool in words. Nothing here needs a page. */

/** @import { Pool } from "../shared/types.js" */

/** @typedef {{tone: "healthy" | "degraded" | "unhealthy" | "filling", text: string, until: number | null}} PoolState */

/**
 * Return the state of a pool. An open circuit breaker comes first: it explains the rest.
 *
 * @param {Pool} pool
 * @param {number} now
 * @returns {PoolState} `until` is the end of a suspension
 */
export function stateOf(pool, now) {
  if ((pool.pool_closed_until ?? 0) > now) {
    return { tone: "unhealthy", text: "Pool suspended. Next attempt in", until: pool.pool_closed_until };
  }
  if ((pool.provider_closed_until ?? 0) > now) {
    const text = `Provider ${pool.provider} suspended. Next attempt in`;
    return { tone: "unhealthy", text, until: pool.provider_closed_until };
  }
  if (pool.size > 0 && pool.ready === 0) return { tone: "degraded", text: "Empty", until: null };
  if (pool.ready < pool.size) return { tone: "filling", text: "Filling", until: null };
  return { tone: "healthy", text: pool.size ? "Full" : "Size 0", until: null };
}
