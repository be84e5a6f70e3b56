// Renews the page in place. A row that has not changed is left alone, and with it focus, selection and typed text.
const every = Number(document.currentScript.dataset.refreshMs);

function isInUse(node) {
  const selection = getSelection();
  return node.contains(document.activeElement) || (!selection.isCollapsed && selection.containsNode(node, true));
}

function renewList(list, fresh) {
  const wanted = new Set([...fresh.children].map((row) => row.id));
  for (const row of [...list.children].filter((each) => !wanted.has(each.id))) {
    const held = row.contains(document.activeElement);
    row.remove();
    if (held) list.closest("section").querySelector("h2").focus();
  }
  let at = list.firstElementChild;
  for (const row of fresh.children) {
    if (at && at.id === row.id) at = at.nextElementSibling;
    else list.insertBefore(document.getElementById(row.id) ?? document.importNode(row, true), at);
  }
}

function renew(next) {
  document.title = next.title;
  const lists = next.querySelectorAll("[data-list]");
  document.querySelectorAll("[data-list]").forEach((list, number) => renewList(list, lists[number]));
  for (const fresh of next.querySelectorAll("[data-live], [data-shown]")) {
    const old = document.getElementById(fresh.id);
    if ("shown" in fresh.dataset) old.hidden = fresh.hidden;
    else if (old.innerHTML !== fresh.innerHTML && !isInUse(old)) old.innerHTML = fresh.innerHTML;
  }
  const token = next.querySelector("[name=token]").value; // another one after a restart of the sandbox
  document.querySelectorAll("[name=token]").forEach((field) => { field.value = token; });
}

async function look() {
  try {
    if (document.hidden) return;
    const reply = await fetch(location.href, { cache: "no-store" });
    if (!reply.ok) throw new Error(reply.status);
    renew(new DOMParser().parseFromString(await reply.text(), "text/html"));
    document.getElementById("stale").hidden = true;
  } catch {
    document.getElementById("stale").hidden = false;
  } finally {
    setTimeout(look, every);
  }
}
setTimeout(look, every);
