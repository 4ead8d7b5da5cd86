"""Groups of commands: what each does in full, and what an unknown one may have meant."""

import click

_UNFOLDED = 500  # characters; click would end a longer text with dots


class Group(click.Group):
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        named = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        with formatter.section("Commands"):
            formatter.write_dl([(name, found.get_short_help_str(_UNFOLDED)) for name, found in named if found])
