"use strict";
// Follows a job that is not over; all text goes through textContent.
(() => {
  const live = document.getElementById("live");
  if (!live) return;
  const at = (id) => document.getElementById(id);
  const OVER = ["succeeded", "failed", "canceled", "timed_out"];
  const WORDS = { queued: "Waiting", running: "Running", canceling: "Canceling" };
  let said = "";

  // Only changes of method or phase are announced: numbers change too often to be read aloud.
  const say = (text) => {
    if (text !== said) at("phase").textContent = said = text;
  };
  const progress = (now) => {
    say([now.method, now.phase].filter(Boolean).join(": "));
    // An upper bound alone may be that of a piece of the network.
    for (const end of typeof now.lower === "number" ? ["lower", "upper"] : []) {
      if (typeof now[end] === "number") at(end).textContent = String(Number(now[end].toPrecision(6)));
    }
    if (now.total > 0) {
      at("bar").max = now.total;
      at("bar").value = now.done || 0;
    } else {
      at("bar").removeAttribute("value");
    }
  };
  const status = (now) => {
    if (OVER.includes(now.status)) {
      source.close();
      location.reload();
    } else if (WORDS[now.status]) {
      at("status").textContent = WORDS[now.status];
    }
  };

  // How many are ahead changes by what others do, of which this job's events say nothing.
  const ahead = at("ahead");
  const count = async () => {
    const answer = await fetch(live.dataset.self);
    const { queue } = answer.ok ? await answer.json() : {};
    ahead.textContent = queue ? String(queue.ahead) : "0";
    if (queue) setTimeout(count, 5000);
  };
  if (ahead) setTimeout(count, 5000);

  const source = new EventSource(live.dataset.events);
  source.addEventListener("progress", (event) => progress(JSON.parse(event.data)));
  source.addEventListener("status", (event) => status(JSON.parse(event.data)));
  addEventListener("pagehide", () => source.close());

  const cancel = at("cancel");
  cancel.hidden = false;
  cancel.addEventListener("click", async () => {
    cancel.disabled = true;
    const answer = await fetch(cancel.dataset.cancel, { method: "POST" });
    if (!answer.ok) {
      cancel.disabled = false;
      at("fault").textContent = (await answer.json()).detail;
    }
  });
})();
