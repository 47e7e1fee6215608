"""A Kubernetes cluster in one process, answering as a recorded real one does.

Where to look: what happens to a Job (deadline, TTL, failures) is `controllers/job.py`, to a pod on its node
`kubelet/worker.py`, to a pull `kubelet/pulling.py`, to a request `api/server.py` and then `api/resources.py`. What is
left out on purpose is `limits.py`; what a scenario may set is `scenario.py`.
"""
