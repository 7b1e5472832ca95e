/** Workers, queues and tasks in words. Nothing here needs a page. */

/**
 * Return the name of a queue without its prefix, which is the same for all queues.
 *
 * @param {string} queue
 */
export const shortQueue = (queue) => queue.replace(/^vmpooler\./, "");

/**
 * Return the name of a task without its prefix.
 *
 * @param {string} task
 */
export const shortTask = (task) => task.replace(/^vmpooler_tasks\.(tasks\.)?/, "");

/**
 * Return what a task works on: `vm-1 of centos-7`. A request has a long id, of which the start is enough here.
 *
 * @param {Record<string, string>} subject
 */
export function subjectText({ vm, pool, request_id: request, ...others }) {
  const words = Object.entries(others).map(([name, value]) => `${name} ${value}`);
  const what = vm && pool ? `${vm} of ${pool}` : (vm ?? pool ?? "");
  return [what, request && `for request ${request.slice(0, 8)}`, ...words].filter(Boolean).join(", ");
}
