/* Shows the badge pages inside Airflow's UI, and on their own where Airflow's UI does not lend its parts.

The server draws every page. Airflow's UI loads this module and renders what it leaves in `globalThis.AirflowPlugin`:
a component that fetches the page, puts its <main> into a shadow root, and turns its links into Airflow's own. Airflow's
colours and typeface are CSS variables, which a shadow root inherits, so that light and dark follow its switch.
The same module serves the plain page, where it shows times in the user's zone and sends the forms. */

const HERE = new URL("..", import.meta.url); // …/capillary/
const AIRFLOW = new URL("..", HERE);
const PAGE = "/plugin/badges";
const TAB = "/plugin/badges_run";
const RUN = /^runs\/([^/]+)\/([^/]+)$/;
/** A window as narrow as the style sheet's phone. */
const NARROW = "(max-width: 48rem)";
const SLOW_MS = 300;
/** So long a list that somebody points at is not renewed after its time, ms. */
const AIMED_MS = 60_000;

/** A customer's id stands in no log, and servers log addresses: it stands behind their #, and is sent in this header.
 *
 * Whoever logs in again is sent back to the address in the browser's bar, as a query, which is logged. So what stands
 * behind its # is taken out of the bar once it is read, and kept with the entry of the browser's history. */
const PLACE = "X-Badge-Place";

/** Where a link of ours leads within Airflow's UI; null: nowhere, it is an address of its own. */
function withinAirflow(href) {
  const url = new URL(href, HERE);
  if (url.href.startsWith(HERE.href)) {
    const rest = url.pathname.slice(HERE.pathname.length);
    if (rest.startsWith("static/") || rest.endsWith(".csv")) return null;
    const run = RUN.exec(rest);
    // Airflow's own header of a run leaves a phone no room for a tab: there the page stands alone.
    if (run && isNarrow()) return null;
    if (run) return `/dags/${run[1]}/runs/${run[2]}${TAB}${url.search}${url.hash}`;
    return `${PAGE}${rest === "badges" ? "" : `/${rest}`}${url.search}${url.hash}`;
  }
  if (!url.href.startsWith(AIRFLOW.href)) return null;
  const rest = url.pathname.slice(AIRFLOW.pathname.length);
  // "//host" would be another host for whoever opens it.
  return /^(\/|(api|auth|ui)\/)/.test(rest) ? null : `/${rest}${url.search}${url.hash}`;
}

function isNarrow() {
  return globalThis.matchMedia?.(NARROW).matches ?? false;
}

/** Acts each time that the window becomes narrow; what comes back ends that. */
function whenNarrow(act) {
  const narrow = globalThis.matchMedia(NARROW);
  const changed = () => narrow.matches && act();
  narrow.addEventListener("change", changed);
  return () => narrow.removeEventListener("change", changed);
}

/** The address of a place in Airflow's UI. "./" before it: a colon or a slash in it is no scheme and no host. */
function addressOf(path) {
  return new URL(`./${path.replace(/^\/+/, "")}`, AIRFLOW).href;
}

/** Whether an address is a page: neither a script nor anything else that a browser would run. */
function isPage(href) {
  try {
    return ["http:", "https:"].includes(new URL(href, location.href).protocol);
  } catch {
    return false;
  }
}

/** An address without what stands behind its #, and that. */
function split(href) {
  const [before, ...behind] = href.split("#");
  return [before, behind.join("#")];
}

/** The address of the page that belongs to a place in Airflow's UI. */
function pageOf(pathname, behind, dagId, runId) {
  if (dagId && runId) {
    return new URL(`runs/${encodeURIComponent(dagId)}/${encodeURIComponent(runId)}${behind}`, HERE).href;
  }
  const rest = pathname.slice(PAGE.length).replace(/^\/+|\/+$/g, "");
  return new URL(`${rest || "badges"}${behind}`, HERE).href;
}

/** One page on the screen: fetched, renewed while it says so, its times and forms brought to life. */
class View {
  constructor(root, { scrolls, navigate = null }) {
    this.root = root;
    this.scrolls = scrolls;
    this.navigate = navigate;
    this.address = null;
    this.etag = null;
    this.asked = 0;
    this.onClick = (event) => this.follow(event);
    this.onSubmit = (event) => this.send(event);
    this.onZone = () => this.tellTimes();
    this.onChange = () => this.weigh();
    // After *Back* a browser may show a page as it was left: an order on it was sent, and it looks as if it never ended.
    this.onBack = (event) => event.persisted && this.show(this.address);
    this.leaves = false;
    this.sends = false;
    root.addEventListener("click", this.onClick);
    root.addEventListener("submit", this.onSubmit);
    root.addEventListener("input", this.onChange);
    root.addEventListener("change", this.onChange);
    globalThis.addEventListener("storage", this.onZone);
    globalThis.addEventListener("local-storage", this.onZone);
    globalThis.addEventListener("pageshow", this.onBack);
    this.clock = setInterval(() => this.tick(), 1000);
    this.renewAt = Infinity;
  }

  close() {
    clearInterval(this.clock);
    this.asked += 1;
    this.root.removeEventListener("click", this.onClick);
    this.root.removeEventListener("submit", this.onSubmit);
    this.root.removeEventListener("input", this.onChange);
    this.root.removeEventListener("change", this.onChange);
    globalThis.removeEventListener("storage", this.onZone);
    globalThis.removeEventListener("local-storage", this.onZone);
    globalThis.removeEventListener("pageshow", this.onBack);
  }

  main() {
    return this.root.querySelector("main.page");
  }

  /** Shows what is on the plain page already. */
  adopt() {
    this.wire();
    const here = () => this.show(placeOfTheBar());
    globalThis.addEventListener("hashchange", here);
    globalThis.addEventListener("popstate", here);
    // The browser keeps what was ticked before *Back*.
    globalThis.addEventListener("pageshow", () => this.weigh());
    this.address = placeOfTheBar();
    if (this.address.includes("#")) this.show(this.address);
  }

  async show(address, { renewal = false } = {}) {
    const asked = (this.asked += 1);
    const slow = renewal ? 0 : setTimeout(() => this.main()?.setAttribute("aria-busy", "true"), SLOW_MS);
    if (!renewal) {
      this.leaves = true;
      this.renewAt = Infinity; // the page that goes away must not come back
    }
    this.weigh();
    const reply = await fetched(address);
    clearTimeout(slow);
    if (asked !== this.asked) return;
    if (reply?.status === 401) {
      logIn();
      return;
    }
    const etag = reply?.headers.get("etag") ?? null;
    if (renewal && (reply === null || reply.status >= 500)) {
      this.stale(true);
      this.plan();
      return;
    }
    const text = reply === null ? "" : await reply.text();
    if (asked !== this.asked) return;
    this.stale(false);
    if (renewal && ((etag !== null && etag === this.etag) || this.isWritten())) {
      this.plan();
      return;
    }
    this.etag = etag;
    this.address = address;
    this.put(read(text) ?? away(), renewal);
  }

  put(main, renewal) {
    const before = this.main();
    const focused = this.focused()?.id;
    const open = new Set([...this.root.querySelectorAll("details[open][id]")].map((each) => each.id));
    const top = this.scrolls.scrollTop;
    const fresh = document.importNode(main, true);
    if (before) before.replaceWith(fresh);
    else this.root.append(fresh);
    if (!renewal) this.leaves = this.sends = false;
    this.wire();
    if (renewal) {
      for (const each of this.root.querySelectorAll("details[id]")) each.open = each.open || open.has(each.id);
      if (focused) this.root.getElementById?.(focused)?.focus({ preventScroll: true });
      this.scrolls.scrollTop = top;
    } else if (before) {
      this.scrolls.scrollTop = 0;
      fresh.querySelector("h1")?.focus({ preventScroll: true });
    }
  }

  focused() {
    return this.root.activeElement ?? null;
  }

  wire() {
    for (const link of this.root.querySelectorAll("a[href]")) {
      if (!isPage(link.href)) {
        link.removeAttribute("href");
        continue;
      }
      const path = withinAirflow(link.href);
      if (path !== null && this.navigate) link.href = addressOf(path);
      else if (new URL(link.href).origin !== location.origin) {
        link.target = "_blank";
        link.rel = "noopener noreferrer";
      }
    }
    this.tellTimes();
    this.weigh();
    this.plan();
  }

  /** Lets a form be sent or not: what a page says will happen is true of its boxes as they were when it was drawn. */
  weigh() {
    const changed = this.isRedrawn();
    for (const form of this.root.querySelectorAll("form[data-post]")) {
      form.querySelector("button[type=submit]").disabled = changed || this.leaves || this.sends;
      const said = form.querySelector("[data-changed]");
      if (said) said.hidden = !changed;
      const scriptless = form.querySelector("[data-scriptless]");
      if (scriptless) scriptless.hidden = true;
    }
  }

  /** Whether the boxes that decide what a page says are not as they were when it was drawn. */
  isRedrawn() {
    return [...this.root.querySelectorAll("form[data-redraws] input")].some(isChanged);
  }

  plan() {
    const seconds = Number(this.main()?.dataset.renew ?? 0);
    this.renewAt = seconds > 0 ? Date.now() + seconds * 1000 : Infinity;
  }

  tick() {
    this.tellAges();
    if (Date.now() < this.renewAt || document.hidden || this.isWritten() || this.isAimedAt()) return;
    this.renewAt = Infinity;
    this.show(this.address, { renewal: true });
  }

  /** Whether somebody is writing: what they write must stay. */
  isWritten() {
    const typed = [...this.root.querySelectorAll("input, textarea")].some(isChanged);
    return typed || ["INPUT", "TEXTAREA"].includes(this.focused()?.tagName);
  }

  /** Whether somebody points at a list whose rows may change places: they keep them, for a minute at most. */
  isAimedAt() {
    return Date.now() < this.renewAt + AIMED_MS && this.root.querySelector("[data-steady]:hover") !== null;
  }

  stale(is) {
    const said = this.root.querySelector("[data-stale]");
    if (said) said.hidden = !is;
  }

  tellTimes() {
    const zone = userZone();
    for (const each of this.root.querySelectorAll("time[datetime]")) {
      const full = inZone(each.dateTime, zone);
      if (each.hasAttribute("data-age")) each.title = full;
      else each.textContent = full;
    }
    this.tellAges();
  }

  tellAges() {
    for (const each of this.root.querySelectorAll("time[data-age]")) {
      const said = age(each.dateTime);
      if (each.textContent !== said) each.textContent = said;
    }
  }

  follow(event) {
    const link = event.target.closest?.("a[href]");
    if (!link || event.defaultPrevented || event.button !== 0 || link.target === "_blank") return;
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey || link.hasAttribute("download")) return;
    if (!this.navigate) {
      // This very page without what stands behind its #: a browser would reload it, and keep the place of its entry.
      if (link.href !== split(location.href)[0]) return;
      event.preventDefault();
      history.pushState(null, "", link.href);
      this.show(link.href);
      return;
    }
    if (!isPage(link.href)) {
      event.preventDefault();
      return;
    }
    const path = withinAirflow(link.href);
    if (path === null) return;
    event.preventDefault();
    this.navigate(path);
  }

  async send(event) {
    const form = event.target;
    if (form.method === "get") {
      event.preventDefault();
      const url = new URL(form.action);
      if (form.hasAttribute("data-place")) url.hash = encodeURIComponent(form.querySelector("input").value.trim());
      else url.search = new URLSearchParams(new FormData(form)).toString();
      this.go(url.href);
      return;
    }
    event.preventDefault();
    this.weigh(); // a browser may have ticked a box without a word
    if (form.querySelector("button[type=submit]").disabled) return;
    const said = form.querySelector("[role=alert]");
    said.textContent = "";
    this.sends = true;
    this.weigh();
    try {
      if (form.hasAttribute("data-recheck") && !(await this.isAsDrawn(form))) return;
      if (this.isRedrawn()) throw new Error("Nothing was sent: the boxes were changed meanwhile.");
      const turnsOn = form.querySelector("input[data-unpause]:checked")?.dataset.unpause;
      const answer = await post(form);
      // As Airflow writes a run's id into an address, and knows its tabs by it.
      const run = encodeURIComponent(answer.dag_run_id ?? "").replaceAll("%3A", ":").replaceAll("%2B", "+");
      if (turnsOn) await unpause(turnsOn, answer.dag_run_id);
      this.go(form.dataset.then.replace("{run}", run), { reload: run !== "" });
    } catch (error) {
      said.textContent = error.message;
      this.sends = error.done === true;
      this.weigh();
    }
  }

  /** Whether the server would still draw this form so; where not, its new page is put in place of this one. */
  async isAsDrawn(form) {
    const asked = this.asked;
    const reply = await fetched(this.address);
    const text = reply === null ? "" : await reply.text();
    if (asked !== this.asked) return false; // another page is on its way
    if (reply?.status === 401) {
      logIn();
      return false;
    }
    const now = reply === null || reply.status >= 500 ? null : read(text);
    if (now === null) throw new Error("Airflow cannot say now whether this still holds. Nothing was sent.");
    if (order(now) === order(this.main())) return true;
    const written = new Map([...form.querySelectorAll("[id][data-into]")].map((each) => [each.id, each.value]));
    this.etag = reply.headers.get("etag");
    this.put(now, false);
    for (const [id, value] of written) {
      const field = this.root.getElementById?.(id);
      if (field) field.value = value;
    }
    const warning = document.createElement("div");
    warning.className = "notice warn";
    warning.setAttribute("role", "alert");
    warning.textContent = "Nothing was sent: things have changed since this page was drawn. This is how they stand now.";
    this.main().querySelector(".top")?.after(warning);
    return false;
  }

  /** Goes to a page. `reload`: Airflow's UI has to ask for everything again.
   *
   * For minutes it keeps the runs of each DAG that were looked at. Where the run that it is led to is not among them,
   * it takes that for an old one, and puts a filter (Run After: To …) over its grid that hides all later runs. */
  go(href, { reload = false } = {}) {
    const url = new URL(href, location.origin);
    const path = withinAirflow(url.href);
    if (!this.navigate || path === null) {
      if (isPage(url.href)) location.assign(url.href);
    } else if (reload) location.assign(addressOf(path));
    else this.navigate(path);
  }
}

/** Sends a form as JSON: what it says already, and its fields where they belong. */
async function post(form) {
  const body = JSON.parse(form.dataset.body);
  for (const field of form.querySelectorAll("[data-into]")) {
    const value = field.value.trim();
    if (!value) continue;
    for (const path of field.dataset.into.split(" ")) {
      const names = path.split(".");
      const last = names.pop();
      names.reduce((inner, name) => (inner[name] ??= {}), body)[last] = value;
    }
  }
  return call("POST", form.dataset.post, body);
}

/** Turns the DAG of a run on that is made by now: a refused order must not leave it on. */
async function unpause(address, run) {
  try {
    await call("PATCH", address, { is_paused: false });
  } catch (error) {
    const said = new Error(`The run ${run} is made, and waits: its DAG could not be turned on. ${error.message}`);
    throw Object.assign(said, { done: true });
  }
}

/** What a page would order, and what it says of it, as one text. */
function order(main) {
  const form = main.querySelector("form[data-post]");
  if (form === null) return null;
  const says = form.querySelector("[data-says]")?.textContent ?? "";
  return JSON.stringify([form.dataset.post, form.dataset.body, form.dataset.then, says.replace(/\s+/g, " ")]);
}

/** Whether a field is not as it was drawn. */
function isChanged(field) {
  return field.type === "checkbox" ? field.checked !== field.defaultChecked : field.value !== field.defaultValue;
}

/** The answer of a page's server; null: there is none. */
async function fetched(address) {
  try {
    const url = new URL(address);
    const headers = { Accept: "text/html", ...(url.hash ? { [PLACE]: url.hash.slice(1) } : {}) };
    url.hash = "";
    return await fetch(url, { headers, credentials: "same-origin", cache: "no-store" });
  } catch {
    return null;
  }
}

function read(text) {
  return new DOMParser().parseFromString(text, "text/html").querySelector("main.page");
}

function logIn() {
  const login = new URL("api/v2/auth/login", AIRFLOW);
  login.searchParams.set("next", split(location.href)[0]);
  location.replace(login.href);
}

async function call(method, address, body) {
  let reply;
  try {
    reply = await fetch(address, {
      method,
      body: JSON.stringify(body),
      headers: { "Content-Type": "application/json", Accept: "application/json" },
      credentials: "same-origin",
    });
  } catch {
    throw new Error("Airflow does not answer. Whether it was done is not known: look before you try again.");
  }
  const answer = await reply.json().catch(() => ({}));
  if (reply.ok) return answer;
  const detail = typeof answer.detail === "string" ? answer.detail : JSON.stringify(answer.detail ?? "");
  throw new Error(`Airflow refused it (HTTP ${reply.status}): ${detail}`);
}

function away() {
  const main = document.createElement("main");
  main.className = "page";
  main.dataset.renew = "10";
  main.innerHTML = "<div class='notice bad' role='alert'><strong>Airflow does not answer.</strong> This page tries again.</div>";
  return main;
}

/** The zone that Airflow's own switch says, or the browser's. */
function userZone() {
  try {
    return JSON.parse(localStorage.getItem("timezone")) || undefined;
  } catch {
    return undefined;
  }
}

function inZone(iso, timeZone) {
  const options = { year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit" };
  const format = (zone) => new Intl.DateTimeFormat("sv-SE", { ...options, timeZone: zone }).format(new Date(iso));
  try {
    return format(timeZone);
  } catch {
    return format(undefined);
  }
}

function age(iso) {
  const seconds = Math.round((Date.now() - new Date(iso)) / 1000);
  const size = Math.abs(seconds);
  if (size < 5) return "now";
  const [unit, length] = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]].find(([, each]) => size >= each);
  const whole = Math.floor(size / length);
  const rest = unit === "d" ? Math.floor((size % 86400) / 3600) : unit === "h" ? Math.floor((size % 3600) / 60) : 0;
  const said = `${whole} ${unit}${rest && whole < 10 ? ` ${rest} ${unit === "d" ? "h" : "min"}` : ""}`;
  return seconds < 0 ? `in ${said}` : `${said} ago`;
}

/** Where the plain page is, with what stands behind its #; the bar itself loses that. */
function placeOfTheBar() {
  const [address, behind] = split(location.href);
  if (!behind) return history.state?.badgePlace ? `${address}#${history.state.badgePlace}` : address;
  history.replaceState({ ...history.state, badgePlace: behind }, "", address);
  return `${address}#${behind}`;
}

/** Airflow's look, from the document's own style sheet, once for all views. */
let sheet;
function styles() {
  sheet ??= fetch(new URL("static/pages.css", HERE), { credentials: "same-origin" })
    .then((reply) => reply.text())
    .then((text) => {
      const made = new CSSStyleSheet();
      made.replaceSync(text);
      return made;
    });
  return sheet;
}

function Badges({ dagId, runId }) {
  const { createElement, useEffect, useRef } = globalThis.React;
  const { useLocation, useNavigate } = globalThis.ReactRouterDOM;
  const { pathname, search, hash, state } = useLocation();
  const navigate = useNavigate();
  const holder = useRef(null);
  const view = useRef(null);
  const go = useRef(navigate);
  // The router keeps the state in the browser's history, and the bar never shows what stands behind the #.
  go.current = (path) => {
    const [to, behind] = split(path);
    navigate(to, behind ? { state: { badgePlace: behind } } : {});
  };
  const behind = hash.slice(1) || state?.badgePlace;
  const address = pageOf(pathname, `${search}${behind ? `#${behind}` : ""}`, dagId, runId);
  useEffect(() => {
    if (hash) navigate({ pathname, search }, { replace: true, state: { ...state, badgePlace: hash.slice(1) } });
  }, [hash]);
  useEffect(() => {
    if (!runId) return undefined;
    if (isNarrow()) location.replace(address);
    return whenNarrow(() => location.assign(address));
  }, [address]);
  useEffect(() => {
    const root = holder.current.shadowRoot ?? holder.current.attachShadow({ mode: "open" });
    root.replaceChildren();
    styles().then((made) => (root.adoptedStyleSheets = [made]));
    view.current = new View(root, { scrolls: holder.current, navigate: (path) => go.current(path) });
    return () => view.current.close();
  }, []);
  useEffect(() => {
    styles().then(() => view.current.show(address));
  }, [address]);
  return createElement("div", { ref: holder, style: { height: "100%", overflow: "auto" }, "data-testid": "badge-pages", "data-tab": runId ? "" : undefined });
}

/** Where Airflow's UI does not lend its parts: the plain page, in place of this one. */
function Plain({ dagId, runId }) {
  const at = location.pathname.slice(new URL(document.baseURI).pathname.length - 1);
  location.replace(pageOf(at.startsWith(PAGE) ? at : PAGE, `${location.search}${location.hash}`, dagId, runId));
  return null;
}

if (document.documentElement.hasAttribute("data-plain-page")) {
  let theme = localStorage.getItem("theme");
  if (theme !== "dark" && theme !== "light") theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  document.documentElement.classList.add(theme);
  new View(document, { scrolls: document.documentElement }).adopt();
} else {
  const lent = globalThis.React?.createElement && globalThis.ReactRouterDOM?.useNavigate;
  globalThis.AirflowPlugin = lent ? Badges : Plain;
}
