// The page is made by the server; this keeps it of now. Without it everything can be read all the same.
(() => {
  "use strict";
  const root = document.documentElement, $ = (id) => document.getElementById(id);
  const viewOf = root.dataset.live, build = root.dataset.build;
  root.classList.add("script");

  // ---- time, by the node's clock
  let ahead = null;       // the node's clock less this machine's steady one, in ms
  let lookedAt = 0;       // when the node was looked at, by its clock
  let heard = -Infinity;  // the last word, by the steady clock
  let offset = 0;         // the node's time zone, in seconds
  const steady = () => performance.now();
  const nodeNow = () => ahead === null ? null : steady() + ahead;

  const two = (n) => String(n).padStart(2, "0");
  function words(ms) {
    const s = Math.max(0, Math.floor(ms / 1000));
    if (s < 100) return s + " s";
    const m = Math.floor(s / 60);
    if (m < 100) return m + " min";
    const h = Math.floor(m / 60);
    return h < 48 ? h + " h" : Math.floor(h / 24) + " d";
  }
  function show(el, text) { if (el && el.textContent !== text) el.textContent = text; }

  function tick() {
    const now = nodeNow();
    const silent = steady() - heard;
    if (now !== null) {
      const d = new Date(now + offset * 1000);
      show($("clock"), two(d.getUTCHours()) + ":" + two(d.getUTCMinutes()) + ":" + two(d.getUTCSeconds()));
      for (const t of document.querySelectorAll("time[data-rel]")) {
        const then = Date.parse(t.dateTime);
        show(t, then > now + 1000 ? "in " + words(then - now) : (t.dataset.rel === "for" ? "for " + words(now - then) : words(now - then) + " ago"));
      }
    }
    if (!viewOf) return;
    const age = now === null ? silent : now - lookedAt;
    const stale = silent > 3500 || age > 3500;
    const still = viewOf === "clock"; // such a page is as it was loaded
    $("live").dataset.state = stale ? "stale" : still ? "still" : "live";
    show($("live-word"), stale ? "Not live" : still ? "As loaded" : "Live");
    root.classList.toggle("stale", stale && !still && now !== null);
    const line = $("stale");
    if (stale && now !== null) {
      show($("stale-words"), (still ? "" : "This data is " + words(age) + " old. ") + (silent > 3500 ? "The connection to the node is lost; it is tried again." : "The node answers, but does not look at itself."));
      line.hidden = false;
    } else if (stale && refused) {
      show($("stale-words"), "This page is not live: " + refused + ". It is loaded anew every 10 s.");
      line.hidden = false;
    } else if (!stale) line.hidden = true;
    const wrong = now === null || stale ? 0 : Date.now() - now;
    const clockLine = $("wrong-clock");
    if (Math.abs(wrong) > 2500) {
      show($("wrong-clock-words"), "This screen's clock is " + words(Math.abs(wrong)) + (wrong > 0 ? " ahead of" : " behind") + " the node's. Times on this page are the node's.");
      clockLine.hidden = false;
    } else clockLine.hidden = true;
  }

  // ---- small changes, in place, so that focus, selection and scrolling stay
  function morph(from, to) {
    if (from.nodeType !== to.nodeType || from.nodeName !== to.nodeName) { from.replaceWith(to.cloneNode(true)); return; }
    if (from.nodeType !== Node.ELEMENT_NODE) { if (from.nodeValue !== to.nodeValue) from.nodeValue = to.nodeValue; return; }
    const relative = from.hasAttribute("data-rel") && from.getAttribute("datetime") === to.getAttribute("datetime");
    for (const a of [...from.attributes]) if (!to.hasAttribute(a.name) && a.name !== "open") from.removeAttribute(a.name);
    for (const a of to.attributes) if (from.getAttribute(a.name) !== a.value) from.setAttribute(a.name, a.value);
    if (!relative) children(from, to);
  }
  function children(from, to) {
    const keyed = new Map();
    for (const c of from.children) if (c.dataset.key) keyed.set(c.dataset.key, c);
    let at = from.firstChild;
    for (const want of [...to.childNodes]) {
      const key = want.nodeType === Node.ELEMENT_NODE && want.dataset.key;
      const known = key && keyed.get(key);
      if (known) {
        if (known !== at) from.insertBefore(known, at); else at = at.nextSibling;
        morph(known, want);
        continue;
      }
      if (at && !(at.nodeType === Node.ELEMENT_NODE && at.dataset.key) && !key) {
        const next = at.nextSibling;
        morph(at, want);
        at = next;
        continue;
      }
      from.insertBefore(want.cloneNode(true), at);
    }
    while (at) { const next = at.nextSibling; at.remove(); at = next; }
  }
  let said = 0;
  function patch(p) {
    for (const [id, html] of Object.entries(p.html)) {
      const el = $(id);
      if (!el) continue;
      const t = document.createElement("template");
      t.innerHTML = html; // made and escaped by the server
      const fresh = el.cloneNode(false);
      fresh.append(t.content);
      children(el, fresh);
    }
    for (const el of document.querySelectorAll("[data-when]")) el.hidden = !$(el.dataset.when); // forms are made for one visitor, and are there all the time
    if (p.title) document.title = p.title;
    if (p.say && steady() - said > 3000) { said = steady(); show($("say"), p.say); }
    lookedAt = p.at;
  }

  // ---- the connection
  let source = null, refused = "", again = 0;
  function word() { heard = steady(); refused = ""; }
  function connect() {
    clearTimeout(again);
    if (source || document.hidden) return;
    source = new EventSource("/live/" + viewOf.split("/").map(encodeURIComponent).join("/"));
    source.addEventListener("patch", (e) => { word(); patch(JSON.parse(e.data)); tick(); });
    source.addEventListener("beat", (e) => {
      const b = JSON.parse(e.data);
      word();
      ahead = b.now - steady();
      lookedAt = b.at;
      offset = b.offset;
      if (b.build !== build) location.reload();
    });
    source.onerror = () => {
      if (source.readyState !== EventSource.CLOSED) return; // it tries by itself
      source = null;
      ask();
    };
  }
  function leave() { if (source) { source.close(); source = null; } }
  // The server refuses, for instance because the session is over: find out, and try again.
  async function ask() {
    try {
      const r = await fetch("/live/clock", { method: "GET", headers: { Accept: "application/json" }, signal: AbortSignal.timeout(2000) });
      if (r.status === 401) { location.reload(); return; }
      refused = r.ok ? "" : "too many look already";
      if (r.body) r.body.cancel();
      again = setTimeout(refused ? () => location.reload() : connect, refused ? 10000 : 1000);
    } catch {
      again = setTimeout(connect, 1000);
    }
  }
  if (viewOf) {
    connect();
    // A browser has few connections to one host: who does not look needs none.
    document.addEventListener("visibilitychange", () => { if (document.hidden) leave(); else connect(); });
    addEventListener("pagehide", leave);
    addEventListener("pageshow", connect);
  }
  setInterval(tick, 500);

  // ---- light and dark
  function theme(next) {
    if (next) root.dataset.theme = next; else delete root.dataset.theme;
    document.querySelector("meta[name=color-scheme]").content = next || "light dark";
    document.cookie = "theme=" + next + ";path=/;max-age=" + (next ? 31536000 : 0) + ";samesite=lax";
  }
  function switchTheme() {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    theme(dark ? "light" : "dark");
  }
  $("theme").addEventListener("click", (e) => { e.preventDefault(); switchTheme(); });

  // ---- keys
  let keys = root.dataset.keys === "on";
  const keySwitch = $("keys");
  if (keySwitch) {
    const label = () => show(keySwitch, "Switch the single keys " + (keys ? "off" : "on"));
    label();
    keySwitch.addEventListener("click", () => {
      keys = !keys;
      document.cookie = "keys=" + (keys ? "on" : "off") + ";path=/;max-age=31536000;samesite=lax";
      label();
    });
  }
  addEventListener("keydown", (e) => {
    if (!keys || e.ctrlKey || e.altKey || e.metaKey || e.target.closest("input, textarea, select")) return;
    if (e.key === "t") { switchTheme(); return; }
    if (e.key === "/") { const s = document.querySelector("input[type=search]"); if (s) { e.preventDefault(); s.focus(); } return; }
    for (const k of document.querySelectorAll("nav kbd")) if (k.textContent === e.key) { e.preventDefault(); k.closest("a").click(); return; }
  });
})();
