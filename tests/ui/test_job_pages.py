"""Jobs larger than a batch: one line each, and one with all its batches, for whom they belong to."""

from .conftest import CHAT, lines


async def test_a_job_is_one_line_and_has_a_page(client, http, person, log_in, clock, tmp_path, monkeypatch):
    ada, bob = await person("ada"), await person("bob")
    (tmp_path / "large.jsonl").write_bytes(lines(3, "gpt-4o-mini") + lines(3, "gpt-5-mini").replace(b"r-", b"s-"))
    job = await client.batches.create_many(
        tmp_path / "large.jsonl", CHAT, job="night/ly", attribution=ada.key.attribution
    )
    assert len(job.batches) == 2
    await log_in(ada)
    listed = (await http.get("/ui/jobs")).text
    place = "/ui/jobs/openai/night%2Fly"
    assert f'href="{place}"' in listed
    assert "2 of 2 batches open" in (await http.get(place)).text
    monkeypatch.setattr("batchmeter_ui.pages.jobs._MOST_OPEN", 1)
    assert "1 or more" in (await http.get("/ui/jobs")).text, "never a number that is too small"
    monkeypatch.undo()
    clock.advance(60)
    for batch in job.batches:
        await client.batches.retrieve(batch.id)
    clock.advance(1400)
    report = await client.batches.wait_many(job, timeout=20)
    page = (await http.get(place)).text
    assert f"${report.cost.total:.4g}" in page
    assert all(batch.id in page for batch in job.batches)
    assert f'href="{place}"' in (await http.get(f"/ui/batches/openai/{job.batches[0].id}")).text
    assert "night/ly" in (await http.get("/ui/spend?by=job")).text
    assert (await http.get("/ui/jobs")).text.count(place) == 1
    assert (await http.get("/ui/jobs/openai/nothing")).status_code == 404
    await log_in(bob)
    assert (await http.get(place)).status_code == 404
    assert "night" not in (await http.get("/ui/jobs")).text
