"""What a ledger must say, worked out in memory from the words of the specification and nothing else."""

from dataclasses import dataclass, field
from typing import Literal

Content = tuple[str, int] | None  # which run's model with which seed; None: no file is left
Key = tuple[str, str]  # version, rule

Accepting = Literal["accepted", "gone", "lost", "never audited", "moved", "unknown"]


@dataclass(slots=True)
class Bytes:
    """One storage. Two versions may share it, and it outlives them."""

    run: str
    seed: int | None
    writes: int = 0

    @property
    def content(self) -> Content:
        return None if self.seed is None else (self.run, self.seed)

    @property
    def fingerprint(self) -> int:
        return -1 if self.seed is None else self.writes  # nothing looks like nothing

    def write(self, seed: int | None) -> None:
        self.seed, self.writes = seed, self.writes + 1


@dataclass(frozen=True, slots=True)
class Version:
    storage: Bytes
    creation: int


@dataclass(frozen=True, slots=True)
class Said:
    """Of one audit."""

    statuses: dict[str, str]  # by version
    findings: dict[Key, tuple[bool, bool]]  # -> new, waived
    resolved: set[Key]  # gone, or still there and waived since the audit before
    accepted_count: int
    exit_status: int


@dataclass(frozen=True, slots=True)
class _Read:
    run: str
    fingerprint: int
    content: Content


@dataclass(slots=True)
class Oracle:
    versions: dict[str, Version] = field(default_factory=dict)
    creations: int = 0
    baselines: dict[str, tuple[Content, int]] = field(default_factory=dict)  # accepted content, of which creation
    first_sight: dict[tuple[str, int], Content] = field(default_factory=dict)  # whole, of a number and its creation
    read: dict[str, _Read] = field(default_factory=dict)  # newest reading of each number, whatever bears it now
    open: set[Key] = field(default_factory=set)
    waivers: dict[Key, Content] = field(default_factory=dict)
    answered_for: set[Key] = field(default_factory=set)  # waived since the audit before

    def register(self, version: str, storage: Bytes) -> None:
        self.creations += 1
        self.versions[version] = Version(storage, self.creations)

    def accept(self, version: str) -> Accepting:
        now = self.versions.get(version)
        if now is None:
            if self.baselines.get(version) is None:
                return "unknown"
            if (version, "RA011") not in self.open:
                return "never audited"
            del self.baselines[version]
            return "gone"
        if now.storage.content is None:
            return "lost"
        if version not in self.read:
            return "never audited"
        if self.read[version].content != now.storage.content:
            return "moved"
        self.baselines[version] = now.storage.content, now.creation
        return "accepted"

    def waive(self, version: str, rule: str) -> bool:
        if (version, rule) not in self.open:
            return False
        self.waivers[version, rule] = self.read[version].content
        self.answered_for.add((version, rule))
        return True

    def audit(self, *, quick: bool, accept_new: bool) -> Said:
        known = {(read.run, read.fingerprint) for read in self.read.values()} if quick else set()
        statuses, current, accepted = {}, dict[Key, Content](), 0
        for number, version in sorted(self.versions.items()):
            content = version.storage.content
            statuses[number], rules = self._beside_baseline(number, version)
            trusted = (version.storage.run, version.storage.fingerprint) in known
            if statuses[number] == "unchanged" and trusted:
                statuses[number] = "not_read"
            rules |= {"RA003"} if content is None else set()
            current |= {(number, rule): content for rule in rules}
            if not rules:
                self.first_sight.setdefault((number, version.creation), content)
            if accept_new and statuses[number] == "new" and not rules:
                self.baselines[number] = content, version.creation
                accepted += 1
        for number in sorted(self.baselines.keys() - self.versions.keys()):
            statuses[number] = "vanished"
            current[number, "RA011"] = self.read[number].content  # the last bytes anybody saw
        findings = {key: (key not in self.open, self._is_waived(key, content)) for key, content in current.items()}
        resolved = {key for key in self.open - current.keys() if not self._is_lost(key[0])}
        waived = {key for key in self.answered_for & self.open & current.keys() if findings[key][1]}
        self.open, self.answered_for = (self.open - resolved) | current.keys(), set()
        for number, version in self.versions.items():
            storage = version.storage
            self.read[number] = _Read(storage.run, storage.fingerprint, storage.content)
        return Said(statuses, findings, resolved | waived, accepted, self._exit_status(findings))

    def _beside_baseline(self, number: str, version: Version) -> tuple[str, set[str]]:
        content, creation = self.baselines.get(number, (None, None))
        if creation is None:
            seen = self.first_sight.get((number, version.creation), version.storage.content)
            return "new", set() if seen == version.storage.content else {"RA002"}
        if creation != version.creation:
            return "new", {"RA011"}
        return ("unchanged", set()) if content == version.storage.content else ("changed", {"RA002"})

    def _is_waived(self, key: Key, content: Content) -> bool:
        return key in self.waivers and self.waivers[key] == content

    def _is_lost(self, number: str) -> bool:
        return number in self.versions and self.versions[number].storage.content is None

    def _exit_status(self, findings: dict[Key, tuple[bool, bool]]) -> int:
        if any(not waived for _, waived in findings.values()):
            return 1
        lost = [self._is_lost(number) for number in self.versions]
        return 3 if any(lost) or not lost else 0
