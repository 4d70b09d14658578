"""The page's style and script, inline in each page; the content security policy allows their hashes."""

from __future__ import annotations

import base64
import hashlib

STYLE = """
:root{color-scheme:light dark;--bg:#fff;--fg:#1f2328;--mute:#59636e;--line:#d1d9e0;--soft:#f6f8fa;--link:#0550ae;
--up:#1a7f37;--degraded:#7d4e00;--down:#b3202b;--unknown:#59636e;--downbg:#fff1f0;--degradedbg:#fff8e6}
@media(prefers-color-scheme:dark){:root{--bg:#0d1117;--fg:#e6edf3;--mute:#9198a1;--line:#30363d;--soft:#151b23;
--link:#79b8ff;--up:#4ac26b;--degraded:#e3b341;--down:#ff7b72;--unknown:#9198a1;--downbg:#2a1517;--degradedbg:#272010}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--fg);font:14px/1.45 system-ui,sans-serif}
a{color:var(--link);text-decoration:none}a:hover{text-decoration:underline}
:focus-visible{outline:2px solid var(--link);outline-offset:2px}
header{display:flex;flex-wrap:wrap;gap:4px 20px;align-items:baseline;padding:10px 20px;border-bottom:1px solid var(--line)}
header strong{font-size:16px}header nav{display:flex;gap:16px}header .where{color:var(--mute)}
header [aria-current]{color:var(--fg);font-weight:600}
main{padding:14px 20px 40px;max-width:1400px;margin:0 auto}
h1{font-size:22px;margin:6px 0 4px}h2{font-size:15px;margin:26px 0 8px}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:5px 10px 5px 0;vertical-align:middle;
border-bottom:1px solid var(--line)}thead th{color:var(--mute);font-weight:500;font-size:12px}
tbody th{font-weight:500}td.num{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
td.name,tbody th{white-space:nowrap;max-width:340px;overflow:hidden;text-overflow:ellipsis}
td.target{color:var(--mute);max-width:320px;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
td.wide{width:45%}td.why{color:var(--down)}
.v{font-weight:600;white-space:nowrap}.v::before{content:"";display:inline-block;width:9px;height:9px;margin-right:6px;
background:currentColor;border-radius:50%}
.v.down::before{border-radius:0}.v.degraded::before{transform:rotate(45deg);border-radius:0}
.v.unknown::before,.v.pending::before{background:none;border:2px solid currentColor}
.up{color:var(--up)}.degraded{color:var(--degraded)}.down{color:var(--down)}.unknown,.pending{color:var(--unknown)}
.counts{display:flex;flex-wrap:wrap;gap:6px 18px;margin:8px 0 14px;padding:0;list-style:none}
.counts a{color:inherit}.counts .v{font-size:15px}
.trouble{border:1px solid var(--line);border-left:5px solid var(--unknown);border-radius:6px;padding:9px 14px;margin:0 0 8px;
background:var(--soft)}
.trouble.isdown{border-left-color:var(--down);background:var(--downbg)}
.trouble.isdegraded{border-left-color:var(--degraded);background:var(--degradedbg)}
.trouble h3{margin:0;font-size:15px;display:flex;flex-wrap:wrap;gap:4px 12px;align-items:baseline}
.trouble p{margin:3px 0 0}.trouble h3 .mute{font-weight:400}.mute,time{color:var(--mute)}.sev{font-weight:600}
code,pre{font:12.5px/1.45 ui-monospace,monospace}pre{background:var(--soft);border:1px solid var(--line);border-radius:6px;
padding:10px 14px;overflow:auto;max-height:75vh}
form.filter{display:flex;flex-wrap:wrap;gap:8px;margin:18px 0 6px;align-items:center}
input,select,button{font:inherit;color:inherit;background:var(--bg);border:1px solid var(--line);border-radius:5px;padding:4px 8px}
button{background:var(--soft);cursor:pointer}
svg.spark{display:block}svg.spark path{fill:none;stroke-width:1.4;vector-effect:non-scaling-stroke;stroke:currentColor}
svg.spark path.l{stroke:var(--fg);opacity:.75}svg.spark path.f{stroke:var(--down);stroke-width:2.4}
svg.spark path.d{stroke:var(--degraded);stroke-width:2.4}
svg.spark path.u{stroke:var(--unknown);stroke-dasharray:2 2;stroke-width:2}
svg.time{width:100%;height:26px;display:block;margin:0 0 8px}svg.time rect{fill:currentColor}
svg.bar{width:100%;height:9px;display:block}svg.bar .b{fill:var(--link)}svg.bar .f{fill:var(--down)}
.waterfall th{font-weight:400}.waterfall td,.waterfall th{padding-top:2px;padding-bottom:2px;border:0}
dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 16px;margin:6px 0}dt{color:var(--mute)}
dd{margin:0;overflow-wrap:anywhere}
.finding{border-left:3px solid var(--unknown);padding:2px 0 2px 12px;margin:0 0 12px}
.finding.failed{border-color:var(--down)}.finding.degraded{border-color:var(--degraded)}
.finding.degraded,.finding.unknown{color:inherit}
.cols{display:grid;grid-template-columns:repeat(auto-fit,minmax(420px,1fr));gap:0 40px}
.said{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
#live{font-size:12px}#live.off{color:var(--down)}
@media(max-width:760px){td.target,th.target,td.kind,th.kind{display:none}.cols{grid-template-columns:1fr}}
"""
SCRIPT = """
(function(){
var root=document.documentElement,url=root.dataset.events;
if(!url||!window.EventSource)return;
var live=document.getElementById("live"),said=document.getElementById("said"),source=new EventSource(url);
function put(id,html){var old=document.getElementById(id);if(!old)return;
if(old.contains(document.activeElement)&&document.activeElement!==document.body)return;
var t=document.createElement("template");t.innerHTML=html;
if(t.content.firstElementChild)old.replaceWith(t.content.firstElementChild);}
source.addEventListener("parts",function(e){var p=JSON.parse(e.data);for(var id in p)put(id,p[id]);});
source.addEventListener("said",function(e){said.textContent=JSON.parse(e.data);});
source.addEventListener("again",function(){location.reload();});
source.onopen=function(){live.textContent="live";live.className="";};
source.onerror=function(){live.textContent="not connected: this page is not kept up to date";live.className="off";};
window.addEventListener("pagehide",function(){source.close();});
})();
"""


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


POLICY = (
    f"default-src 'none'; style-src 'sha256-{_hash(STYLE)}'; script-src 'sha256-{_hash(SCRIPT)}'; "
    "connect-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
