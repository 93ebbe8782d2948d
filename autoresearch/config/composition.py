"""`conf/` files and overrides → plain values, composed by Hydra.

Hydra chooses the files and merges them; overrides of single values are applied here, so that a key
which a file leaves out can be set and a misspelt one is met by the strict reader. Sweeps over task
parameters are the search space. Nothing of Hydra's own is used: no job, no logging, no chdir.
"""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml
from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from autoresearch.config.grammar import one_line, parse_override
from autoresearch.config.reader import UNSET
from autoresearch.errors import ConfigError, nearest
from autoresearch.experiment import Json
from autoresearch.layout import shipped
from autoresearch.settings import Data

PRIMARY = "config"  # conf/config.yaml
UNREADABLE = (yaml.YAMLError, OSError, ValueError, TypeError, RecursionError)  # by a broken file

Key = tuple[str, ...]  # the parts of a dotted name
PARAMS: Key = ("task", "params")
SPACE: Key = ("search", "space")
DATA = "task.data."
TIERS: Key = ("cluster", "tiers")


def conf_folders() -> list[Path]:
    """Where conf files are looked for: the user's own conf/ in the working directory, then ours."""
    own, ours = Path("conf").absolute(), shipped("conf")
    return [own, ours] if own.is_dir() and not own.samefile(ours) else [ours]


class Groups:
    """The config groups under some conf folders, and their options."""

    def __init__(self, folders: Sequence[Path]) -> None:
        version.setbase("1.3")
        Plugins.instance()  # what reads file: and pkg: sources
        path = ConfigSearchPathImpl()
        path.append("hydra", "pkg://hydra.conf")
        for folder in folders:
            path.append("main", f"file://{folder}")
        path.append("schema", "structured://")
        self.folders = folders
        self.loader = ConfigLoaderImpl(path)

        self.names = [name for name in self.loader.list_groups("") if name != "hydra"]

    def options(self, group: str) -> list[str]:
        return self.loader.get_group_options(group, ObjectType.CONFIG)

    def check_choice(self, override: Override) -> None:
        """Raises ConfigError unless a group's override names one of its options."""
        refuse_sweep(override)
        group, option = override.key_or_group, override.value()
        if not override.is_delete() and option not in self.options(group):
            hint = nearest(str(option), self.options(group))
            raise ConfigError(f"there is no {group}={option}; {hint}")

    def load(self, choices: Sequence[str]) -> Json:
        """The files these choices select, merged; interpolations as they stand.

        Raises ConfigError for a file that is missing or cannot be read.
        """
        try:
            found = self.loader.load_configuration(PRIMARY, list(choices), RunMode.RUN)
        except MissingConfigException as error:
            group, _, option = (error.missing_cfg_file or "").partition("/")
            places = " or ".join(str(folder / group) for folder in self.folders)
            raise ConfigError(
                f"there is no {group}={option}: {option}.yaml should lie in {places}; write it or "
                f"set {group}=...; {nearest(option, self.options(group))}"
            ) from None
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError(f"conf/ cannot be composed: {one_line(first_cause(error))}") from None
        except UNREADABLE as error:
            raise ConfigError(self.unreadable() or one_line(error)) from None
        settings = container(found, resolve=False)
        del settings["hydra"]
        return settings

    def unreadable(self) -> str:
        """Which file cannot be read, and why: Hydra does not say."""
        for folder in self.folders:
            for path in sorted(folder.rglob("*.yaml")):
                try:
                    OmegaConf.load(path)
                except UNREADABLE as error:
                    return f"{path} should hold settings as YAML, but: {one_line(error)}"
        return ""


def first_cause(error: BaseException) -> Exception:
    """Hydra wraps what went wrong in errors that do not say it."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error if isinstance(error, Exception) else RuntimeError(str(error))


def container(found: DictConfig, resolve: bool) -> Json:
    """Plain values of what Hydra composed."""
    try:
        values = OmegaConf.to_container(found, resolve=resolve)
    except OmegaConfBaseException as error:
        raise ConfigError(f"a value of conf/ cannot be resolved: {one_line(error)}") from None
    return {str(name): value for name, value in values.items()} if isinstance(values, dict) else {}


def compose_plain(overrides: Sequence[str], folders: Sequence[Path]) -> Json:
    """Plain values of all settings, interpolations resolved. Raises ConfigError."""
    groups = Groups(folders)
    parsed = [parse_override(text) for text in overrides]
    choices = {o.key_or_group: o for o in parsed if is_choice(o, groups.names)}
    for choice in choices.values():
        groups.check_choice(choice)
    settings = groups.load([choice_text(choice) for choice in choices.values()])
    for override in parsed:
        if not is_choice(override, groups.names):
            apply(settings, override)
    leave_data_to_environment(settings)
    try:
        return container(OmegaConf.create(settings), resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"a value cannot be resolved: {one_line(error)}") from None


def in_full(overrides: Sequence[str]) -> list[str]:
    """As `prepare` takes them: `source=files` → `task.data.source=files`; no group is so called."""
    names = {field.name for field in fields(Data)}
    return [f"{DATA}{o}" if o.partition("=")[0] in names else o for o in overrides]


def is_choice(override: Override, groups: Sequence[str]) -> bool:
    """Whether an override chooses a group's file, like planner=bayes."""
    is_group = override.key_or_group in groups and override.package is None
    return is_group and not isinstance(override.value(), dict)


def choice_text(override: Override) -> str:
    group = override.key_or_group
    return f"~{group}" if override.is_delete() else f"{group}={override.value()}"


def leave_data_to_environment(settings: Json) -> None:
    """task.data.directory may be left out: `machine` then asks AUTORESEARCH_DATA."""
    data = section(settings, ("task", "data"))
    if data.get("directory") in (None, UNSET):
        data["directory"] = ""


# ---- overrides of single values --------------------------------------------------------------


def apply(settings: Json, override: Override) -> None:
    """Change `settings` as one override says. Raises ConfigError."""
    key = tuple(override.key_or_group.split("."))
    if override.package is not None:
        raise ConfigError(f"'{override.input_line}' should name a key, without '@'")
    if key[:-1] in (PARAMS, SPACE):
        apply_to_parameter(settings, key, override)
        return
    refuse_sweep(override)
    if override.is_delete():
        delete(settings, key)
    else:
        put(settings, key, override.value(), is_new=override.is_add() or override.is_force_add())


def refuse_sweep(override: Override) -> None:
    if override.is_sweep_override():
        raise ConfigError(
            f"only task parameters can be swept (task.params.NAME=...), not "
            f"'{override.input_line}'; a list is written {override.key_or_group}=[1,2], and text "
            "with commas is quoted twice"
        )


def apply_to_parameter(settings: Json, key: Key, override: Override) -> None:
    """A single value fixes a parameter; a sweep has it searched, from the value that it has."""
    given, space, name = section(settings, PARAMS), section(settings, SPACE), key[-1]
    if override.is_delete():
        places = [given, space] if key[:-1] == PARAMS else [space]
        if not any(name in place for place in places):
            hint = nearest(name, {known for place in places for known in place})
            raise ConfigError(f"'{override.input_line}' has nothing to take away; {hint}")
        for place in places:
            place.pop(name, None)
        return
    if override.is_sweep_override():
        space[name] = override.get_value_string()
    elif key[:-1] == SPACE:
        space[name] = override.value()
    else:
        space.pop(name, None)
        given[name] = override.value()


def section(settings: Json, key: Key) -> Json:
    """The part of `settings` at `key`, made if it is missing."""
    node = settings
    for depth, name in enumerate(key, 1):
        if node.get(name) in (None, UNSET):
            node[name] = {}
        node = node[name]
        if not isinstance(node, dict):
            raise ConfigError(
                f"{'.'.join(key[:depth])} should hold names with values, but was {node!r}"
            )
    return node


def put(settings: Json, key: Key, value: Any, is_new: bool) -> None:
    """Set one value; names with values add to those that are there, as Hydra does it."""
    if key[:2] == TIERS and len(key) > 2 and not is_new and key[2] not in section(settings, TIERS):
        raise ConfigError(
            f"there is no tier '{key[2]}'; {nearest(key[2], section(settings, TIERS))} "
            f"(a new one is written +cluster.tiers.{key[2]}=...)"
        )
    node = section(settings, key[:-1])
    node[key[-1]] = merged(node.get(key[-1]), value)


def merged(old: Any, new: Any) -> Any:
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return new
    return old | {name: merged(old.get(name), value) for name, value in new.items()}


def delete(settings: Json, key: Key) -> None:
    node = section(settings, key[:-1])
    if key[-1] not in node:
        hint = nearest(key[-1], node)
        raise ConfigError(f"'~{'.'.join(key)}' has nothing to take away; {hint}")
    del node[key[-1]]
