/**
 * The JSON of the HTTP API, as types. They follow the models in `vmpooler_tasks/web/api/responses.py`. The browser does
 * not load this module: other modules name its types in comments. Times are epochs in seconds unless a field says
 * otherwise.
 */

/**
 * @typedef {object} Session
 * @property {boolean} login_required
 * @property {string | null} user
 * @property {string | null} role "operate" or "read"; null before the login
 * @property {string | null} csrf_token
 */

/** @typedef {"healthy" | "degraded" | "unhealthy"} Severity */

/**
 * @typedef {object} Reason
 * @property {string} code
 * @property {string} severity
 * @property {string} found what is wrong, in words
 * @property {string} remedy what to do
 * @property {string} [runbook] an address on this server
 * @property {string} [pool]
 * @property {string} [queue]
 * @property {string} [provider]
 * @property {string} [host]
 * @property {string} [key]
 * @property {string} [error]
 */

/**
 * @typedef {object} Health
 * @property {string} status
 * @property {string | null} last_check an ISO text
 * @property {number} [stuck_vm_count]
 * @property {number} [dlq_total_size]
 * @property {number} [orphaned_metadata_count]
 * @property {Reason[]} reasons
 */

/**
 * `state`, `since`, `until` and `why` say how the pool is; `last_error` is what failed last, which may be fixed since.
 *
 * @typedef {object} Pool
 * @property {string} pool
 * @property {string} state "full", "short", "empty", "braked", "stalled", "suspended", "paused", "draining" or "removed"
 * @property {number | null} since
 * @property {number | null} until the end of a suspension; in the past: until a clone succeeds
 * @property {string} why
 * @property {string} last_error
 * @property {number | null} last_error_at
 * @property {number} size
 * @property {number} ready
 * @property {number} pending
 * @property {number} cloning
 * @property {number} running
 * @property {number} completed
 * @property {number} failures
 * @property {string} last_failure
 * @property {string} provider
 * @property {number | null} provider_closed_until
 * @property {number | null} pool_closed_until
 * @property {string} brake what its engaged brake holds, in words; "" if it is not engaged
 */

/**
 * A task that a worker runs now. `subject` names what it works on: a VM, a pool, a request.
 *
 * @typedef {{name: string, id: string, subject: Record<string, string>, since: number}} RunningTask
 */

/**
 * @typedef {object} Worker
 * @property {string} name
 * @property {string} host
 * @property {string[]} queues
 * @property {RunningTask[]} tasks oldest first, at most 50
 */

/**
 * @typedef {object} LastPurge
 * @property {number | null} started
 * @property {number | null} finished
 * @property {string | null} failure
 */

/**
 * @typedef {object} Features
 * @property {boolean} dlq
 * @property {boolean} purge
 * @property {boolean} purge_dry_run
 * @property {boolean} health
 * @property {boolean} manage_pools
 */

/** @typedef {Record<string, number>} Counts */

/**
 * @typedef {object} Overview
 * @property {number} at
 * @property {Health} health
 * @property {Pool[]} pools
 * @property {Counts} dlq dead letters by queue
 * @property {Worker[]} workers
 * @property {string[]} beats
 * @property {Counts} messages by Celery queue
 * @property {number} unacknowledged
 * @property {LastPurge} purge
 * @property {number} open_requests that wait or are being filled
 * @property {Features} features
 * @property {string} version
 * @property {string | null} flower an address
 * @property {string} revision another one whenever a dead letter came or went
 */

/**
 * @typedef {object} PoolVm
 * @property {string} vm
 * @property {number | null} since
 * @property {string} template
 * @property {string} host
 * @property {string} request
 * @property {string} user
 */

/** @typedef {{queue: string, total: number, readable: boolean, vms: PoolVm[], left_out: number}} PoolQueue */

/** @typedef {{name: string, configured: unknown, override: string | null, effective: unknown}} PoolSetting */

/**
 * @typedef {object} PoolDetails
 * @property {Pool} state
 * @property {string[]} aliases
 * @property {PoolQueue[]} queues
 * @property {PoolSetting[]} settings
 * @property {string | null} known_template
 * @property {boolean} reset
 */

/**
 * What an order for a pool did.
 *
 * @typedef {{changed: boolean, text: string, hindered_by: string[], moved: number}} OrderReport
 */

/**
 * @typedef {object} RequestPart
 * @property {string} name as the user typed it: a pool or an alias
 * @property {string} pool
 * @property {number} count
 * @property {number} delivered
 * @property {number} queued clones that have not started
 * @property {number} cloning
 */

/**
 * An on-demand request.
 *
 * @typedef {object} Request
 * @property {string} request its id
 * @property {string} status "waiting", "filling", "ready", "failed" or "deleted"
 * @property {string} user
 * @property {number | null} since
 * @property {string} requested
 * @property {string} failure_reason
 * @property {number} retry_count
 * @property {RequestPart[]} parts
 * @property {string[]} waits_for
 */

/** @typedef {{requests: Request[], next_cursor: string | null, unreadable: string[]}} RequestPage */

/** @typedef {{at: number, what: string, vm: string, pool: string, detail: string}} RequestEvent */

/** @typedef {Request & {delivered: Record<string, string[]>, events: RequestEvent[]}} RequestDetail */

/**
 * @typedef {object} PoolPoint
 * @property {number} [pending]
 * @property {number} [pending_oldest]
 * @property {number} [ready]
 * @property {number} [ready_oldest]
 * @property {number} [completed]
 * @property {number} [stuck]
 */

/**
 * @typedef {object} HistoryPoint
 * @property {number} at
 * @property {string} status
 * @property {number} dlq
 * @property {number} stuck
 * @property {number} orphaned
 * @property {Record<string, PoolPoint>} pools
 */

/**
 * A dead letter may have more fields than these, and may lack all but the first two.
 *
 * @typedef {{
 *   id: string,
 *   queue: string,
 *   queue_from?: string | null,
 *   vm?: string | null,
 *   pool?: string | null,
 *   task?: string | null,
 *   error_class?: string | null,
 *   error_message?: string | null,
 *   failed_at?: string | number | null,
 *   redrives?: number | null,
 *   [field: string]: unknown,
 * }} DeadLetter
 */

/**
 * `unreadable` are keys that hold something else than dead letters.
 *
 * @typedef {{"letters": DeadLetter[], next_cursor: string | null, unreadable: string[]}} DeadLetterPage
 */

/**
 * @typedef {object} ErrorGroup
 * @property {string} error
 * @property {string} [error_class]
 * @property {string} [message]
 * @property {number} count
 * @property {number} newest
 * @property {string[]} queues
 * @property {string[]} pools
 */

/**
 * @typedef {object} DeadLetterStats
 * @property {number} total
 * @property {ErrorGroup[]} groups
 */

/** @typedef {Record<string, unknown>} Selection the dead letters of a redrive or a deletion, as the API takes them */

/** Why some dead letters would not run again. @typedef {{outcome: string, reason: string, count: number}} PreviewReason */

/**
 * @typedef {object} RedriveGroup
 * @property {string} queue
 * @property {string} pool
 * @property {string} error
 * @property {number} count
 * @property {Counts} expected by outcome
 * @property {PreviewReason[]} reasons
 */

/**
 * @typedef {object} RedrivePreview
 * @property {number} selected
 * @property {number} poisoned dead letters that were redriven too often
 * @property {number} to_confirm reverts, which run again only by their ids and confirmed
 * @property {Counts} expected by outcome
 * @property {PreviewReason[]} reasons
 * @property {RedriveGroup[]} groups
 */

/**
 * One failure across redrives. One that was run again has `redriven_at`, `who`, and perhaps `run` and `edited`.
 *
 * @typedef {{
 *   id?: string,
 *   vm?: string,
 *   failed_at?: string,
 *   error_class?: string,
 *   error_message?: string,
 *   redriven_at?: string,
 *   run?: string,
 *   who?: string,
 *   edited?: boolean,
 * }} Attempt
 */

/**
 * The arguments of a failed task, and which of them can be changed.
 *
 * @typedef {object} EditForm
 * @property {boolean} editable
 * @property {string | null} reason why nothing can be changed
 * @property {string} task
 * @property {unknown[]} args
 * @property {Record<string, unknown>} kwargs
 * @property {{name: string, type: string, required: boolean, fixed: boolean}[]} arguments
 */

/**
 * @typedef {object} ScheduleEntry
 * @property {string} name
 * @property {string} task
 * @property {number} interval_seconds
 * @property {boolean} enabled
 * @property {string} switch the option that switches it on
 * @property {number | null} last_run
 * @property {number | null} next_run in the past: no beat has sent it yet
 */

/**
 * @typedef {object} RedriveRun
 * @property {string} run
 * @property {string} state
 * @property {number} selected
 * @property {number} position
 * @property {number} redriven
 * @property {number} obsolete
 * @property {number} kept
 * @property {number} gone
 * @property {number} failed_again
 * @property {string} who
 * @property {string | null} why
 * @property {number} started
 */

/**
 * @typedef {object} PurgeEntry
 * @property {string} queue
 * @property {string} pool
 * @property {string} vm
 * @property {number} age_seconds
 * @property {number} max_age_seconds
 */

/**
 * @typedef {object} PurgeReport
 * @property {boolean} dry_run
 * @property {string} [skipped] why nothing was done
 * @property {Counts} found by queue
 * @property {Counts} purged by queue
 * @property {number} total
 * @property {string[]} errors
 * @property {number} error_count
 * @property {PurgeEntry[]} entries
 * @property {number} entries_left_out
 * @property {number} duration_seconds
 */

/**
 * An entry has more fields, depending on its action.
 *
 * @typedef {{
 *   at: number,
 *   action?: string,
 *   who?: string,
 *   why?: string,
 *   count?: unknown,
 *   [field: string]: unknown,
 * }} AuditEntry
 */

/**
 * @typedef {object} AuditPage
 * @property {AuditEntry[]} entries
 * @property {string | null} next_cursor
 */

export {};
