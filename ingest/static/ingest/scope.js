/** The live scope of a device's page: what the server says, what people do, and the picture. */

import { LoggedOut, all, call, sentence } from "./api.js";
import { Feed } from "./feed.js";
import { Panel } from "./panel.js";
import { Ring } from "./ring.js";
import { Screen } from "./trace.js";

const LONGEST_WINDOW_SECONDS = 30;
const WINDOWS = [2, 5, 10, LONGEST_WINDOW_SECONDS];
const GAINS = [10, 25, 50, 100, 200, 500, 1000, 5000];
const MOST_MARKERS = 200;
const NOT_SENT = ["lagged", "not_kept"]; // gaps of this page; all others are of the stream

const facts = JSON.parse(document.getElementById("scope-facts").textContent);
const root = document.getElementById("scope");
const panel = new Panel(root, `${facts.loginUrl}?next=${encodeURIComponent(location.pathname)}`);
const screen = new Screen(panel.part("canvas"));
const device = `devices/${facts.deviceId}`;

let ring = null; // goes on filling while the screen is paused on a copy
let names = facts.channels; // of the ring
let isPaused = false;

// --- what the server says ------------------------------------------------------------------------

const STATUS_OF_EVENT = {
  connected: "connected",
  disconnected: "disconnected",
  reconnecting: "reconnecting",
  streaming_started: "streaming",
  streaming_stopped: "connected",
};

/** Begin a new ring where a packet is of another stream than those before. */
function prepareFor({ stream_id: streamId, channels, sample_rate: sfreq }) {
  if (ring?.streamId === streamId) return;
  ring = new Ring(streamId, channels.length, sfreq, LONGEST_WINDOW_SECONDS + 1);
  names = channels.map((channel) => facts.channels[channel - 1]);
  if (!isPaused) show();
}

function show() {
  panel.showChannels(names);
  screen.show(ring);
}

function addMarker({ stream_id: streamId, sample, label }) {
  if (sample === null) return;
  const isSame = (other) =>
    other.streamId === streamId && other.sample === sample && other.label === label;
  if (screen.markers.some(isSame)) return;
  screen.markers = [...screen.markers, { streamId, sample, label }].slice(-MOST_MARKERS);
}

const onMessage = {
  subscribed(message) {
    panel.showStatus(message.status, panel.error);
  },
  data(message) {
    prepareFor(message);
    ring.push(message.first_sample, message.samples, message.timestamp);
    if (!isPaused) screen.arrive();
    if (panel.status !== "streaming") panel.showStatus("streaming");
  },
  gap({ stream_id: streamId, first_sample: first, n_samples: n, reason }) {
    if (n && ring?.streamId === streamId) ring.addGap(first, n, !NOT_SENT.includes(reason));
  },
  marker(message) {
    addMarker(message);
    if (!("event_id" in message)) return; // somebody else's
    const kept = message.session_id ? "" : " No session is recording, so it is not kept.";
    panel.say(`Marked “${message.label}”.${kept}`);
  },
  status({ event, data }) {
    if (event === "signal_quality") panel.showQuality(data.channels, data.reasons);
    else if (event === "recording_started") panel.showRecording(data.session_id);
    else if (event === "recording_stopped") panel.showRecording(null);
    else if (event === "streaming_started") look();
    // A link that came back goes on streaming; it is no fresh connection.
    else if (event === "connected" && panel.isRunning) panel.showStatus("streaming");
    else if (event in STATUS_OF_EVENT) panel.showStatus(STATUS_OF_EVENT[event]);
    if (!data?.message) return;
    panel.say(sentence(data), { kind: "error" });
    look();
  },
  error({ error }) {
    panel.say(sentence(error), { kind: "error" });
  },
};

const feed = new Feed(facts.deviceId, {
  packetSeconds: facts.packetSeconds,
  history: () => screen.seconds,
  onMessage: (message) => onMessage[message.type]?.(message),
  onState(state, seconds) {
    const isBack = state === "open" && panel.link !== "open";
    panel.showLink(state, seconds);
    if (isBack) look();
  },
});

/** Ask how the device is: at first, and after a time in which nobody could tell. */
async function look() {
  await attempt(async () => {
    const status = await call("GET", `${device}/status`);
    panel.showStatus(status.status, status.error && sentence(status.error));
    if (status.stream) panel.showFilters(status.stream.filters);
    const channels = status.signal_quality.channels;
    panel.showQuality(
      channels.map(({ quality }) => quality),
      channels.map(({ reason }) => reason),
    );
    if (status.session_id === panel.sessionId) return;
    if (status.session_id === null) {
      panel.showRecording(null);
      return;
    }
    const session = `sessions/${status.session_id}`;
    const { duration_seconds: seconds } = await call("GET", session);
    panel.showRecording(status.session_id, Date.now() - 1000 * seconds);
    const { events } = await call("GET", `${session}/events?ordering=-timestamp`);
    for (const event of events) addMarker({ ...event, sample: event.stream_sample });
  });
}

// --- what people do ------------------------------------------------------------------------------

const actions = {
  async connect() {
    panel.showStatus("connecting");
    panel.showStatus((await call("POST", `${device}/connect`)).status);
    panel.say("The board answers.");
  },
  async start() {
    await call("POST", `${device}/stream/start`, { filters: panel.chosenFilters() });
    panel.say("Streaming.");
  },
  async stop() {
    const question = "A session is being recorded. Stopping the stream completes it.";
    if (panel.sessionId && !(await panel.ask(question, "Stop and complete it"))) return;
    await call("POST", `${device}/stream/stop`);
    panel.say("Stopped.");
  },
  async record() {
    const { sessionId } = panel;
    if (sessionId !== null) {
      await call("POST", `sessions/${sessionId}/stop`);
      panel.showRecording(null);
      const more = { href: `${facts.sessionsUrl}?q=${sessionId}`, label: "Look at it" };
      panel.say(`Session ${sessionId} is complete.`, { more });
      return;
    }
    const study = panel.part("study").value;
    if (!study) {
      const more = { href: facts.newStudyUrl, label: "Add one" };
      panel.say("A recording belongs to a study, and there is none.", { kind: "error", more });
      return;
    }
    const wish = { device_id: facts.deviceId, study_id: study };
    const session = await call("POST", "sessions", wish);
    panel.showRecording(session.session_id);
    panel.say(`Recording session ${session.session_id}.`);
  },
  mark() {
    const label = panel.part("label").value.trim() || "mark";
    feed.send({ type: "marker", device_id: facts.deviceId, label });
  },
  pause() {
    isPaused = !isPaused;
    panel.button("pause").setAttribute("aria-pressed", String(isPaused));
    panel.button("pause").textContent = isPaused ? "Resume" : "Pause";
    if (isPaused) screen.freeze();
    else if (ring !== null) show();
  },
  retry() {
    feed.connect();
  },
};
const QUICK = ["mark", "pause", "retry"]; // these wait for nobody

/** Do something; say what is the matter if it fails. */
async function attempt(work) {
  try {
    await work();
    return true;
  } catch (error) {
    if (error instanceof LoggedOut) panel.showLink("logged out");
    else panel.say(error.message, { kind: "error" });
    return false;
  }
}

async function act(name) {
  if (QUICK.includes(name)) {
    actions[name]();
    return;
  }
  panel.setBusy(true);
  panel.say("");
  const isDone = await attempt(actions[name]);
  panel.setBusy(false);
  if (!isDone && panel.link === "open") await look();
}

root.addEventListener("click", ({ target }) => {
  const name = target.closest("[data-act]:not([type=submit])")?.dataset.act;
  if (name) act(name);
});

panel.part("marker").addEventListener("submit", (event) => {
  event.preventDefault();
  act("mark");
});

function offer(select, values, name, chosen) {
  select.append(...values.map((value) => new Option(name(value), value)));
  select.value = chosen;
}

/** Choose a neighbour of what a list shows. */
function step(role, by) {
  const select = panel.part(role);
  const last = select.options.length - 1;
  select.selectedIndex = Math.max(0, Math.min(select.selectedIndex + by, last));
  select.dispatchEvent(new Event("change"));
}

offer(panel.part("gain"), GAINS, (value) => `±${value} µV`, screen.gain);
offer(panel.part("window"), WINDOWS, (value) => `${value} s`, screen.seconds);
panel.part("gain").addEventListener("change", ({ target }) => screen.setGain(Number(target.value)));
panel.part("window").addEventListener("change", ({ target }) => {
  const before = screen.seconds;
  screen.setSeconds(Number(target.value));
  if (screen.seconds > before) feed.refill();
});
panel.part("filtered").addEventListener("change", ({ target }) => feed.setFiltered(target.checked));

const KEYS = {
  " ": () => act("pause"),
  "+": () => step("gain", -1), // larger traces
  "-": () => step("gain", 1),
  ArrowLeft: () => step("window", -1),
  ArrowRight: () => step("window", 1),
  f: () => panel.part("filtered").click(),
  m: () => panel.part("label").focus(),
};

// Single keys act on the signal only while it has the focus: elsewhere they are typed.
panel.part("canvas").addEventListener("keydown", (event) => {
  const isCombination = event.ctrlKey || event.metaKey || event.altKey;
  if (isCombination || !(event.key in KEYS)) return;
  event.preventDefault();
  KEYS[event.key]();
});

// --- the picture ---------------------------------------------------------------------------------

function frame(now) {
  screen.draw(now);
  requestAnimationFrame(frame);
}

let counted = performance.now();

function count() {
  const now = performance.now();
  const fps = Math.round((1000 * screen.frames) / (now - counted));
  const parts = [`${fps} fps`];
  if (ring !== null) parts.push(`${ring.sfreq} Hz`, `${ring.lost} samples lost`);
  panel.part("facts").textContent = parts.join(" · ");
  screen.frames = 0;
  counted = now;
}

setInterval(() => panel.tick(), 250);
setInterval(count, 1000);
panel.showChannels(names);
panel.showStatus(facts.status);
attempt(async () => {
  const studies = await all("studies");
  panel.part("study").append(...studies.map(({ name, study_id }) => new Option(name, study_id)));
});
requestAnimationFrame(frame);
