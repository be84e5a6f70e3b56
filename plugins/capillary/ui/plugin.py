from airflow.plugins_manager import AirflowPlugin
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse, HTMLResponse
app=FastAPI()
@app.get("/shell.js")
def js():
    return PlainTextResponse("""globalThis.AirflowPlugin = p => { const R=globalThis.React; const nav=globalThis.ReactRouterDOM.useNavigate(); return R.createElement('div',{onClick:()=>nav('/dags/gold_tier')}, JSON.stringify(p)+' '+location.pathname)}""", media_type="application/javascript")
@app.get("/x")
def x():
    return HTMLResponse("<a id=a target=_top href=/dags/gold_tier>top</a> <a id=b href=/dags/gold_tier>self</a> <a id=c target=_blank href=/dags/gold_tier>blank</a>")
class CapillaryPlugin(AirflowPlugin):
    name="capillary"
    fastapi_apps=[{"app":app,"url_prefix":"/capillary","name":"Capillary"}]
    react_apps=[{"name":"Badges","bundle_url":"/capillary/shell.js","destination":"nav","url_route":"badges"},{"name":"Badge requests","bundle_url":"/capillary/shell.js","destination":"dag_run","url_route":"badge_requests"}]
    external_views=[{"name":"Ext","href":"/capillary/x","destination":"nav","url_route":"ext"}]
