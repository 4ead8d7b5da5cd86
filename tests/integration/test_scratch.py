import pytest, time
from support.registry import Registry
from support import damage
@pytest.mark.parametrize("store", ["mlflow_local","mlflow_s3_direct","mlflow_a","mlflow_s3"])
@pytest.mark.parametrize("kind", [None, *damage.ALL], ids=lambda k: k and k.__name__)
@pytest.mark.parametrize("sep", [True, False])
def test_x(store, kind, sep, request, audit, s3_environment):
    server=request.getfixturevalue(store)
    r=Registry(server)
    v=r.add(separate=sep)
    if kind:
        with server.artifacts.edit(v.reg_location) as d: p=kind(d)
    t=time.time()
    try:
        a=audit(server.uri,"--model",v.name)
    except BaseException as e:
        print("@@", store, kind and kind.__name__, sep, "EXC", repr(e)); raise
    try:
        w=a.row
        print("@@", store, kind and kind.__name__, "separate" if sep else "shared", a.exit_status, w["verdict"], sorted(a.rules), w["storage"], [ (d["path"],d["kind"]) for d in w["differences"]], w["reason"], round(time.time()-t,2))
    except AssertionError as e: print("@@", store, kind and kind.__name__, a.exit_status, str(e)[:300])
