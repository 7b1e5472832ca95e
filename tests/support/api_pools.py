"""The API server's routes for pools: overrides of size, template and clone target, their undo, resets, and status."""

from collections.abc import Mapping
from typing import Any

from tests.support.api_server import ApiServer, Reply, text_of


class PoolRoutes(ApiServer):
    """The routes below `/config`, and `/poolreset` and `/status`."""

    def set_pool_sizes(self, sizes: Mapping[str, int], token: str | None = None) -> Reply:
        """POST /config/poolsize: override sizes."""
        return self._override("size", "vmpooler__config__poolsize", sizes, token)

    def set_templates(self, templates: Mapping[str, str], token: str | None = None) -> Reply:
        """POST /config/pooltemplate: override templates, which must look like a path."""
        if any("/" not in one.strip("/") or one != one.strip("/") for one in templates.values()):
            return Reply(400, {"ok": False})
        return self._override("template", "vmpooler__config__template", templates, token)

    def set_clone_targets(self, targets: Mapping[str, str], token: str | None = None) -> Reply:
        """POST /config/clonetarget: override clone targets."""
        return self._override("clone_target", "vmpooler__config__clone_target", targets, token)

    def undo_pool_size(self, pool: str, token: str | None = None) -> Reply:
        """DELETE /config/poolsize/POOL: remove the override, and order the manager to undo it."""
        keys = ("vmpooler__config__poolsize", "vmpooler__pool__undo_size_override")
        return self._undo("size", *keys, pool, token)

    def undo_template(self, pool: str, token: str | None = None) -> Reply:
        """DELETE /config/pooltemplate/POOL: remove the override, and order the manager to undo it."""
        keys = ("vmpooler__config__template", "vmpooler__pool__undo_template_override")
        return self._undo("template", *keys, pool, token)

    def reset_pools(self, *pools: str, token: str | None = None) -> Reply:
        """POST /poolreset: order the manager to empty these pools."""
        if not self.may(token):
            return Reply(401, {"ok": False})
        if any(name not in self.names() for name in pools):
            return Reply(400, {"ok": False})
        for name in pools:
            self.call("SADD", "vmpooler__poolreset", name)
        return Reply(201, {"ok": True})

    def config(self) -> dict[str, dict[str, Any]]:
        """GET /config: size, template and `template_ready` of each pool."""
        self.sync("size", "vmpooler__config__poolsize")
        self.sync("template", "vmpooler__config__template")
        shown = {}
        for name, pool in self.pools.items():
            prepared = text_of(self.call("HGET", "vmpooler__template__prepared", name))
            ready = prepared is not None and prepared == pool.template
            shown[name] = {"size": pool.size, "template": pool.template, "template_ready": ready}
        return shown

    def status(self) -> dict[str, Any]:
        """GET /status: the VMs in each queue, clones in flight, and of each pool what its queues hold."""
        self.sync("size", "vmpooler__config__poolsize")
        clones = [int(self.call("GET", f"vmpooler__tasks__{what}") or 0) for what in ("clone", "ondemandclone")]
        queues = {
            queue: {name: int(self.call("SCARD", f"vmpooler__{queue}__{name}")) for name in self.pools}
            for queue in ("pending", "ready", "running", "completed")
        }
        pools = {
            name: {
                **{queue: queues[queue][name] for queue in ("ready", "running", "pending")},
                "max": pool.size,
                "lastBoot": text_of(self.call("HGET", "vmpooler__lastboot", name)) or "",
            }
            for name, pool in self.pools.items()
        }
        empty = [name for name, one in pools.items() if one["ready"] == 0 and one["max"] != 0]
        totals = {queue: sum(counts.values()) for queue, counts in queues.items()}
        return {"queue": {**totals, "cloning": sum(clones)}, "pools": pools, "ok": not empty, "empty": empty}

    def _override(self, what: str, key: str, values: Mapping[str, Any], token: str | None) -> Reply:
        if not self.may(token):
            return Reply(401, {"ok": False})
        if any(name not in self.pools for name in values):
            return Reply(400, {"ok": False})
        self.sync(what, key)
        changed = {name: value for name, value in values.items() if getattr(self.pools[name], what) != value}
        for name, value in changed.items():
            setattr(self.pools[name], what, value)
            self.call("HSET", key, name, value)
        return Reply(201 if changed else 200, {"ok": True})

    def _undo(self, what: str, key: str, mark: str, name: str, token: str | None) -> Reply:
        if not self.may(token):
            return Reply(401, {"ok": False})
        if name not in self.pools:
            return Reply(404, {"ok": False})
        self.sync(what, key)
        size, template = self.at_startup[name]
        original = size if what == "size" else template
        if getattr(self.pools[name], what) == original:
            return Reply(200, {"ok": True})
        setattr(self.pools[name], what, original)
        self.call("HDEL", key, name)
        self.call("SADD", mark, name)
        return Reply(201, {"ok": True})
