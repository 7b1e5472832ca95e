"""VMs with the mark of this installation whose pool is in no configuration."""

from dataclasses import dataclass

from vmpooler_tasks.model.names import names_text, shell_word


@dataclass(frozen=True, slots=True, kw_only=True)
class UnconfiguredVms:
    """The unconfigured VMs of one provider, as the last round found them.

    `names`: the first of them, each with its pool. `limit`: so many need no confirmation of their own once the provider
    was confirmed. `confirmed`: so many an operator has confirmed; None before the first confirmation.
    """

    provider: str
    count: int
    names: tuple[str, ...]
    limit: int = 0
    confirmed: int | None = None

    @property
    def is_held(self) -> bool:
        """Return whether they wait for an operator."""
        return self.confirmed is None or self.count > max(self.limit, self.confirmed)

    @property
    def text(self) -> str:
        """Return what was found: `12 VMs of provider vsphere …: vm-1 (centos), … and 2 more`."""
        what = f"{self.count} VMs of provider {self.provider} have the mark of this installation and no configured pool"
        return f"{what}: {names_text(self.names, self.count)}"

    @property
    def remedy(self) -> str:
        """Return what to do."""
        if not self.is_held:
            return "nothing to do: they are destroyed"
        return f"if they are to be destroyed: vmpooler-tasks pools confirm --provider {shell_word(self.provider)}"
