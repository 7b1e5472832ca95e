"""Every key that VMPooler 3.9's API server or manager writes: who reads it here, and who empties it.

Sources: `lib/vmpooler/api/v3.rb`, `api/helpers.rb`, `api/rate_limiter.rb` and `pool_manager.rb` of VMPooler.
"""

import re
from dataclasses import dataclass
from enum import Enum


class Fate(Enum):
    """Why a key needs nobody here to empty it."""

    BY_API = "the API server alone reads it and removes it, or lets it expire"
    STATISTICS = "statistics by day stay, as VMPooler keeps them"
    OVERRIDE = "an override stays until a user undoes it: then the API server removes it"
    VALUE = "each write replaces the one before, and there is one value for each pool at the most"
    UNUSED = "these workers neither write nor need it; what VMPooler left there grows no more"


@dataclass(frozen=True)
class VmpoolerKey:
    """A key, with words in capitals for its variable parts.

    `constant`: its name in `store/keys.py`; None: no module here knows it. `api`: the routes that write it, as methods
    of ApiClient. `manager`: methods of VMPooler's manager that do. `read_by` and `emptied_by`: modules of the package.
    """

    name: str
    constant: str | None
    api: tuple[str, ...] = ()
    manager: tuple[str, ...] = ()
    read_by: tuple[str, ...] = ()
    emptied_by: tuple[str, ...] | Fate = ()

    @property
    def pattern(self) -> re.Pattern[str]:
        return re.compile(re.sub(r"[A-Z]+", ".+", re.escape(self.name)), re.DOTALL)


_MOVES, _DELETED = "move_vm_queue", ("delete_vm", "delete_request")
_CHECKOUT = ("checkout", "checkout_vm")
_VMS, _VIEWS = "store/pools/vms.py", "store/pools/views.py"
_DESTROYS, _REQUESTS = "store/pools/destroys.py", "store/requests/fulfilment.py"
_OVERRIDES, _ORDERS, _COUNTERS = (
    "store/orders/overrides.py",
    "store/orders/vm_orders.py",
    "store/health/task_counters.py",
)

VMPOOLER_KEYS = (
    VmpoolerKey("vmpooler__pending__POOL", "queue", (), ("_clone_vm",), (_VIEWS,), (_VMS, "store/pools/clones.py")),
    VmpoolerKey("vmpooler__ready__POOL", "queue", (), ("move_pending_vm_to_ready",), (_VIEWS,), (_VMS,)),
    VmpoolerKey("vmpooler__running__POOL", "queue", _CHECKOUT, (_MOVES,), (_VIEWS,), (_VMS,)),
    VmpoolerKey("vmpooler__completed__POOL", "queue", _DELETED, (_MOVES,), (_VIEWS,), (_DESTROYS,)),
    VmpoolerKey("vmpooler__discovered__POOL", "queue", (), ("create_inventory",), (_VIEWS,), (_VMS,)),
    VmpoolerKey(
        "vmpooler__migrating__POOL", "queue", _CHECKOUT, (), (_VIEWS,), ("store/vmpooler/migrating.py", _DESTROYS)
    ),
    VmpoolerKey("vmpooler__active__POOL", "active", _CHECKOUT, ("move_pending_vm_to_ready",), (_VMS,), (_DESTROYS,)),
    VmpoolerKey(
        "vmpooler__vm__VM",
        "vm",
        (*_CHECKOUT, "modify"),
        ("_clone_vm", "_check_ready_vm", "_create_vm_disk", "_create_vm_snapshot", "_destroy_vm"),
        (_VMS,),
        (_DESTROYS, "store/purge/batches.py"),
    ),
    VmpoolerKey("vmpooler__empty__POOL", "empty", (), ("repopulate_pool_vms",), (_VIEWS,), (_VIEWS,)),
    VmpoolerKey(
        "vmpooler__pools",
        "POOLS",
        (),
        ("load_pools_to_redis",),
        ("store/vmpooler/queues.py",),
        ("store/pools/registration.py",),
    ),
    VmpoolerKey(
        "vmpooler__pool__POOL",
        "pool",
        (),
        ("load_pools_to_redis",),
        ("jobs/health/measure.py",),
        ("store/pools/registration.py",),
    ),
    VmpoolerKey("vmpooler__config", "CONFIG", (), ("publish_config",), (), Fate.VALUE),
    VmpoolerKey("vmpooler__health", "HEALTH", (), ("health_cycle",), ("store/health/record.py",), Fate.VALUE),
    VmpoolerKey("vmpooler__lastboot", "LAST_BOOT", (), ("move_pending_vm_to_ready",), (_VIEWS,), Fate.VALUE),
    VmpoolerKey("vmpooler__boot__DAY", "statistics", (), ("move_pending_vm_to_ready",), (), Fate.STATISTICS),
    VmpoolerKey("vmpooler__clone__DAY", "statistics", (), ("_clone_vm",), (), Fate.STATISTICS),
    VmpoolerKey("vmpooler__tag__DAY", None, ("modify",), (), (), Fate.STATISTICS),
    # Orders for a pool
    VmpoolerKey("vmpooler__config__poolsize", "POOL_SIZES", ("set_pool_sizes",), (), (_OVERRIDES,), Fate.OVERRIDE),
    VmpoolerKey("vmpooler__config__template", "POOL_TEMPLATES", ("set_templates",), (), (_OVERRIDES,), Fate.OVERRIDE),
    VmpoolerKey(
        "vmpooler__config__clone_target",
        "POOL_CLONE_TARGETS",
        ("set_clone_targets",),
        (),
        (_OVERRIDES,),
        Fate.OVERRIDE,
    ),
    VmpoolerKey(
        "vmpooler__template__prepared", "PREPARED_TEMPLATES", (), ("prepare_template",), (_OVERRIDES,), Fate.VALUE
    ),
    VmpoolerKey("vmpooler__poolreset", "POOL_RESETS", ("reset_pools",), (), (_OVERRIDES,), (_OVERRIDES,)),
    VmpoolerKey(
        "vmpooler__pool__undo_size_override", "UNDO_SIZES", ("undo_pool_size",), (), (_OVERRIDES,), (_OVERRIDES,)
    ),
    VmpoolerKey(
        "vmpooler__pool__undo_template_override", "UNDO_TEMPLATES", ("undo_template",), (), (_OVERRIDES,), (_OVERRIDES,)
    ),
    # Orders for a VM
    VmpoolerKey("vmpooler__tasks__disk", "DISK_ORDERS", ("add_disk",), (), (_ORDERS,), (_ORDERS,)),
    VmpoolerKey("vmpooler__tasks__snapshot", "SNAPSHOT_ORDERS", ("snapshot",), (), (_ORDERS,), (_ORDERS,)),
    VmpoolerKey("vmpooler__tasks__snapshot-revert", "REVERT_ORDERS", ("revert",), (), (_ORDERS,), (_ORDERS,)),
    # Clones and on-demand requests
    VmpoolerKey("vmpooler__tasks__clone", "ACTIVE_CLONES", (), ("repopulate_pool_vms",), (_COUNTERS,), Fate.VALUE),
    VmpoolerKey(
        "vmpooler__tasks__ondemandclone",
        "ACTIVE_ONDEMAND_CLONES",
        (),
        ("process_ondemand_vms",),
        (_COUNTERS,),
        Fate.VALUE,
    ),
    VmpoolerKey(
        "vmpooler__provisioning__request", "WAITING_REQUESTS", ("request_vms",), (), (_REQUESTS,), (_REQUESTS,)
    ),
    VmpoolerKey(
        "vmpooler__provisioning__processing",
        "PROCESSING_REQUESTS",
        (),
        ("create_ondemand_vms",),
        (_REQUESTS,),
        (_REQUESTS,),
    ),
    VmpoolerKey(
        "vmpooler__odcreate__task",
        "PENDING_ONDEMAND_CLONES",
        (),
        ("create_ondemand_vms", "fail_pending_vm"),
        (_REQUESTS,),
        (_REQUESTS,),
    ),
    VmpoolerKey(
        "vmpooler__odrequest__REQUEST",
        "request",
        ("request_vms", "delete_request"),
        ("check_ondemand_request_ready",),
        (_REQUESTS,),
        (_REQUESTS,),
    ),
    # Features of the guide
    VmpoolerKey(
        "vmpooler__dlq__QUEUE",
        "dead_letters",
        (),
        ("move_to_dlq",),
        ("store/deadletters/read.py",),
        ("store/deadletters/trim.py",),
    ),
    # What only VMPooler knows
    VmpoolerKey("vmpooler__token__TOKEN", None, ("create_token",), (), (), Fate.BY_API),
    VmpoolerKey("vmpooler__ratelimit__KIND__CLIENT", None, (), (), (), Fate.BY_API),
    VmpoolerKey("vmpooler__template__deltas", None, (), ("prepare_template",), (), Fate.UNUSED),
    VmpoolerKey("vmpooler__migration", None, (), ("migrate_vm",), (), Fate.UNUSED),
    VmpoolerKey(
        "vmpooler__REQUEST__ALIAS__POOL",
        "delivered",
        (),
        ("move_pending_vm_to_ready",),
        (_REQUESTS,),
        (_REQUESTS,),
    ),
)
"""The last one fits any name of three parts."""


def row_of(key: bytes) -> VmpoolerKey | None:
    """Return the row of this key: of this very name, else the first whose pattern fits; None if nobody owns it."""
    text = key.decode(errors="surrogateescape")
    fitting = [row for row in VMPOOLER_KEYS if row.pattern.fullmatch(text)]
    return next((row for row in fitting if row.name == text), next(iter(fitting), None))
