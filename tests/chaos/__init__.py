"""Real workers and a real server, killed again and again, at any instant.

`make chaos` kills 25 times, `CHAOS_KILLS=1000 make chaos` as often as you like. What is random comes from `CHAOS_SEED`,
which is printed. With the same seed the same is killed in the same order, although not at the same instruction.

What is set up
    Two pools of the dummy provider, whose clones take 0.05 to 0.4 seconds and fail at times, for a while or for good.
    A beat; a worker for checks; and for clones and destructions a worker with threads and one with forked children.
    Leases of one second. All the while users take VMs that are ready and give them back a moment later, so that there
    are always clones and destructions under way.

What is killed
    With SIGKILL, mostly while a clone is under way: a worker with all its processes, as a power failure does it; one
    child of the forking worker, as the kernel does it when memory is short; at times the worker for the checks. What
    was killed is started again at once. And in tests of their own: Redis, which comes back with what it had written,
    and Redis frozen for ten seconds.

What must hold, all the time
    No VM is in two queues, of one pool or of two. No VM is handed out twice.

What must hold when the killing has ended, and other workers have taken its work over (`Site.settle`)
    - every VM that was ever begun is ready or running; or it is gone from the provider, and has either a dead letter or
      was destroyed;
    - the provider has the VMs of ready and running, and no other;
    - every pool has its size;
    - no clone is in flight, and VMPooler's counters of them are 0;
    - no VM has two dead letters in one queue;
    - no message is left that nobody acknowledged.
"""
