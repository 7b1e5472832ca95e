/** Automatic purges that found nothing are one row of the audit. Nothing here needs a page. */

/** @import { AuditEntry } from "../shared/types.js" */

/** Entries of one row, newest first. @typedef {{entries: AuditEntry[], isFolded: boolean}} AuditRow */

const AUTOMATIC = "beat";
/** Fields that say nothing more than that the purge was quiet. */
const QUIET_FIELDS = ["at", "action", "who", "count"];

/**
 * Return true for a purge of beat that found nothing and met no error.
 *
 * @param {AuditEntry} entry
 */
export function isQuietPurge(entry) {
  if (entry.action !== "purge" || entry.who !== AUTOMATIC || Number(entry.count)) return false;
  return Object.entries(entry).every(
    ([name, value]) => QUIET_FIELDS.includes(name) || value === "" || value === null || name === "dry_run",
  );
}

/**
 * Return the rows: two or more quiet purges in sequence are one.
 *
 * @param {AuditEntry[]} entries newest first
 * @returns {AuditRow[]}
 */
export function foldedRows(entries) {
  /** @type {AuditEntry[][]} */
  const runs = [];
  for (const entry of entries) {
    const last = runs.at(-1);
    if (last && isQuietPurge(entry) && isQuietPurge(last[0])) last.push(entry);
    else runs.push([entry]);
  }
  return runs.map((run) => ({ entries: run, isFolded: run.length > 1 }));
}
