"""The audit log of a whole lab: commands, requests and workers write one chain."""

import re


def test_the_log_of_a_lab_is_whole_and_says_who_was_at_work(lab):
    with lab.api() as api:
        study_id = api.get("studies").json()["studies"][0]["study_id"]
        api.patch(f"studies/{study_id}", json={"name": "sleep"}).raise_for_status()
        entries = api.get("audit", params={"study_id": study_id}).json()["entries"]
        (entry,) = (e for e in entries if e["verb"] == "study.change")
        assert entry["actor"]["id"] == lab.client["client_id"]
        assert entry["address"] == "127.0.0.1"
        assert entry["request_id"].startswith("req_")
    checked = lab.manage("verify_audit")
    n_entries, head = re.fullmatch(r"(\d+) entries, head (\d+:[0-9a-f]{64})\n", checked).groups()
    assert int(n_entries) >= 6  # the first start, the client, its tokens, the study
    assert head.startswith(f"{n_entries}:")
    lab.manage("verify_audit", "--head", head)
