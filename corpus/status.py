"""`tongues status`: how far the jobs of a directory are."""

import dataclasses
from pathlib import Path

import click

from corpus import stores
from corpus.command import PLACE, print_json
from corpus.console import format_duration, format_table
from corpus.errors import UserError
from corpus.jobs import JobStatus, job_statuses

_SHOWN = 5


@click.command()
@click.argument("directory", type=PLACE)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def group(directory: Path, as_json: bool) -> None:
    """Say how far the jobs in DIRECTORY are: done, running, failed, rate and time left.

    Reads what running processes write, on any machine that sees it; disturbs none of them.
    """
    if stores.place_of(directory) is None and not directory.is_dir():
        raise UserError(f"{directory} is not a directory")
    jobs = job_statuses(directory)
    if not jobs:
        raise UserError(
            f"no job has written to {stores.shown(directory)} or to a directory below it"
        )
    if as_json:
        print_json({"directory": stores.shown(directory), "jobs": [_plain(job) for job in jobs]})
        return
    click.echo(describe(directory, jobs))


def _plain(job: JobStatus) -> dict[str, object]:
    return {**dataclasses.asdict(job), "directory": stores.shown(job.directory)}


def describe(directory: Path, jobs: list[JobStatus]) -> str:
    """Return the table of jobs; below it machines at work, what runs longest, and failures."""
    parts = [
        format_table(
            ["job", "done", "of", "running", "failed", "shards/h", "left"],
            [
                [_name(directory, job), job.done, job.total, len(job.running), job.failures,
                 None if job.shards_per_hour is None else round(job.shards_per_hour),
                 _left(job)]
                for job in jobs
            ],
        )
    ]  # fmt: skip
    machines = [
        [machine, _name(directory, job), one.running, one.done,
         None if one.shards_per_hour is None else round(one.shards_per_hour)]
        for job in jobs
        if job.running
        for machine, one in job.machines.items()
    ]  # fmt: skip
    if machines:
        parts.append(format_table(["machine", "job", "running", "done", "shards/h"], machines))
    running = sorted(
        ((one, job) for job in jobs for one in job.running), key=lambda pair: -pair[0].seconds
    )
    if running:
        rows = [
            [one.shard, _name(directory, job), one.machine, format_duration(one.seconds)]
            for one, job in running[:_SHOWN]
        ]
        parts.append(format_table(["running longest", "job", "machine", "for"], rows))
    parts += [_failures(directory, job) for job in jobs if job.failed]
    return "\n\n".join(parts)


def _name(directory: Path, job: JobStatus) -> str:
    return str(job.directory.relative_to(directory) / job.job)


def _left(job: JobStatus) -> str:
    if job.total is not None and job.done >= job.total:
        return "done"
    if job.total is not None and job.shards_per_hour is None:
        return "not running"
    return "–" if job.seconds_left is None else format_duration(job.seconds_left)


def _failures(directory: Path, job: JobStatus) -> str:
    lines = [f"failed in {_name(directory, job)}:"]
    for one in job.failed[:_SHOWN]:
        shards = ", ".join(one.shards[:_SHOWN]) + (", …" if len(one.shards) > _SHOWN else "")
        lines.append(f"  {len(one.shards):,} × {one.reason}\n      {shards}")
    if len(job.failed) > _SHOWN:
        lines.append(f"  and for {len(job.failed) - _SHOWN:,} other reasons; --json has all")
    return "\n".join(lines)
