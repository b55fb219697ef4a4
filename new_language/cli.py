"""`tongues new-language`."""

from pathlib import Path

import click

from corpus.command import PATH, config_options
from corpus.errors import UserError
from new_language.config import NewLanguageConfig


@click.command()
@click.option("--output", type=PATH, required=True, help="Directory of everything that is made.")
@click.option("--dry-run", is_flag=True, help="Print the steps as a shell script, and stop.")
@click.option("--report-only", is_flag=True, help="Only write the page of what is there.")
@config_options(NewLanguageConfig, is_recipe=True)
@click.pass_context
def group(
    context: click.Context,
    output: Path,
    dry_run: bool,
    report_only: bool,
    config: NewLanguageConfig,
) -> None:
    """Make a model speak a language more, as a RECIPE says: from seed pairs and crawl shards.

    Each step is a `tongues` command that skips what is done; killed anywhere, the same command
    resumes.
    """
    from new_language.report import write_report
    from new_language.run import run_steps, script
    from new_language.settings import check_files, check_settings
    from new_language.steps import Plan, make_steps
    from new_language.times import step_times

    given = context.params
    plan = Plan(
        config=config,
        recipes=tuple(given["config_file"]),
        overrides=tuple(given["overrides"]),
        output=output,
    )
    if dry_run and report_only:
        raise UserError("give --dry-run or --report-only, not both")
    if report_only:
        write_report(plan, step_times(output))
        return
    check_files(config)
    check_settings(make_steps(plan), context.find_root().command)
    if dry_run:
        click.echo(script(plan))
    else:
        run_steps(plan)
        click.echo(output / "report.html")
