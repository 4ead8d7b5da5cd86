import pytest, time, re
from support.registry import Registry
from support import damage, faults
from support.faulty_proxy import *
F={
 "reset":faults.reset(), "reset-body":faults.reset(after_bytes=10),
 "orig":faults.truncated("original"),"corr":faults.truncated("corrected"),"chunked":faults.truncated("chunked"),"chunkunf":faults.truncated("chunked-unfinished"),
 "401":faults.status(401),"403":faults.status(403),"404":faults.status(404),"302":faults.status(302,headers={"Location":"/login"}),
 "500":faults.status(500),"502":faults.status(502),"503":faults.status(503,retry_after_seconds=1),"429":faults.status(429,retry_after_seconds=1),"429-":faults.status(429),"501":faults.status(501),
 "slow":faults.slow(seconds=3),"html":faults.login_page(),"wrong":faults.wrong_bytes(),"204":faults.status(204),
}
L={"empty":faults.empty_listing(),"emptyo":faults.empty_listing("{}"),"null":faults.empty_listing("null"),"list":faults.empty_listing("[]"),"filesnull":faults.empty_listing('{"files": null}'),
 "wo-mlmodel":faults.without_entry("MLmodel"),"wo-pkl":faults.without_entry("model.pkl"),"wo-data":faults.without_entry("data"),"wo-nested":faults.without_entry("nested"),"wo-req":faults.without_entry("requirements.txt"),
 "dup":faults.duplicate_entries(),"endless":faults.endless_nesting(),"resized":faults.resized_entries(1),"resized-big":faults.resized_entries(10**15),"neg":faults.resized_entries(-1),
 **{"h-"+k:faults.with_entries(n) for k,n in faults.HOSTILE_NAMES.items()},
 **{"hd-"+k:faults.with_entries(n,is_dir=True) for k,n in faults.HOSTILE_NAMES.items()}}
ROUTES={"dl":DOWNLOADS,"ls":LISTINGS,"search":"model-versions/search","models":"registered-models/search","uri":"get-download-uri","run":"runs/get","version":"/version$"}
CASES=[(f,p) for f in F for p in ROUTES]+[(l,"ls") for l in L]
@pytest.mark.parametrize("sep", [True, False])
@pytest.mark.parametrize("times", [1, None])
def test_x(sep, times, mlflow_a, audit, s3_environment, monkeypatch):
  monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT","1")
  r=Registry(mlflow_a)
  v=r.add(separate=sep)
  for f,p in CASES:
   with faulty_proxy(mlflow_a.uri) as proxy:
    t=time.time()
    proxy.fault((F|L)[f], path=ROUTES[p], times=times)
    a=audit(proxy.uri,"--model",v.name)
    try:
        w=a.row
        print("@@", p, f, times, "separate" if sep else "shared", a.exit_status, w["verdict"], sorted(a.rules), [ (d["path"],d["kind"]) for d in w["differences"]], w["reason"], round(time.time()-t,2))
    except (AssertionError,ValueError) as e: print("@@", p, f, times, "separate" if sep else "shared", a.exit_status, "NOREPORT", a.stderr[:200].strip(), round(time.time()-t,2))
