from holdfast_worker.settings import WorkerSettings


def test_members_of_workers_serve_worker_as_well() -> None:
    assert WorkerSettings().groups == ("workers", "worker")


def test_any_other_group_stands_alone() -> None:
    assert WorkerSettings(group="reports").groups == ("reports",)
