"""Links to jobs: files larger than a batch, whose batches have a tag in common."""

from urllib.parse import quote

from batchmeter_ui.view import View

JOB = "job:"
"""How that tag begins; the job's id follows."""


def job_url(view: View, account: str, job_id: str) -> str:
    return view.url(f"/jobs/{quote(account, safe='')}/{quote(job_id, safe='')}")
