/** What is around the signal: names and verdicts, buttons, notices, questions. */

const RUNNING = ["streaming", "reconnecting"];

export class Panel {
  /**
   * @param {HTMLElement} root
   * @param {string} loginUrl where to log in, with the way back
   */
  constructor(root, loginUrl) {
    this.root = root;
    this.loginUrl = loginUrl;
    this.status = null; // of the device
    this.error = null; // why the status is "error"
    this.link = "lost"; // to the server: a state of the feed
    this.retryAt = 0;
    this.sessionId = null; // of the recording
    this.recordingSince = 0;
    this.isBusy = false;
  }

  part(role) {
    return this.root.querySelector(`[data-role="${role}"]`);
  }

  button(act) {
    return this.root.querySelector(`[data-act="${act}"]`);
  }

  // --- the device and the connection -------------------------------------------------------------

  showStatus(status, error = null) {
    this.status = status;
    this.error = error;
    this.refresh();
  }

  showLink(link, seconds = 0) {
    this.link = link;
    this.retryAt = Date.now() + 1000 * seconds;
    this.refresh();
  }

  showRecording(sessionId, since = Date.now()) {
    if (sessionId !== this.sessionId) this.recordingSince = since;
    this.sessionId = sessionId;
    this.refresh();
  }

  setBusy(isBusy) {
    this.isBusy = isBusy;
    this.refresh();
  }

  get isRunning() {
    return RUNNING.includes(this.status);
  }

  refresh() {
    const { status, link, sessionId, isBusy, isRunning } = this;
    const isOpen = link === "open";
    const may = isOpen && !isBusy;
    this.root.dataset.link = link;
    const badge = this.part("status");
    badge.textContent = badge.dataset.status = isOpen ? status : "offline";
    this.button("connect").disabled = !may || isRunning || status === "connecting";
    this.button("start").disabled = !may || isRunning;
    this.button("stop").disabled = !may || !isRunning;
    this.button("record").disabled = !may || (status !== "streaming" && sessionId === null);
    this.button("mark").disabled = !isOpen || !isRunning; // what happens does not wait
    this.button("record").setAttribute("aria-pressed", String(sessionId !== null));
    this.button("record").textContent = sessionId === null ? "● Record" : "■ Stop recording";
    this.part("study").disabled = sessionId !== null;
    for (const select of this.root.querySelectorAll("[data-filter]")) {
      select.disabled = isRunning;
      select.title = isRunning ? "Filters are chosen before Start; what is stored is unfiltered." : "";
    }
    this.tick();
  }

  /** Show what changes by itself: how long until the next attempt, how long a recording is. */
  tick() {
    this.part("elapsed").textContent = this.sessionId === null ? "" : this.elapsed();
    const { text, act, label, href } = this.notice();
    const notice = this.part("notice");
    notice.hidden = !text;
    notice.querySelector("span").textContent = text;
    const retry = this.button("retry");
    retry.hidden = act !== "retry";
    const link = notice.querySelector("a");
    link.hidden = !href;
    if (href) Object.assign(link, { href, textContent: label });
  }

  elapsed() {
    const seconds = Math.max(Math.round((Date.now() - this.recordingSince) / 1000), 0);
    const two = (n) => String(n).padStart(2, "0");
    return `● ${two(Math.floor(seconds / 60))}:${two(seconds % 60)}`;
  }

  /** Return what has to be said over the signal, and what can be done about it. */
  notice() {
    const seconds = Math.max(Math.ceil((this.retryAt - Date.now()) / 1000), 0);
    const next = seconds ? `Next attempt in ${seconds} s.` : "Trying again …";
    switch (this.link) {
      case "open":
        return { text: this.noticeOfDevice() };
      case "away":
        return { text: "" };
      case "logged out":
        return { text: "You are logged out.", href: this.loginUrl, label: "Log in" };
      case "refused":
        return { text: "You may not watch this device, or it was removed. Ask who runs the lab." };
      case "restarting":
        return { text: `The server is restarting. ${next}`, act: "retry" };
      default:
        return { text: `The connection is lost. ${next}`, act: "retry" };
    }
  }

  noticeOfDevice() {
    switch (this.status) {
      case "streaming":
        return "";
      case "reconnecting":
        return "The board does not answer. The lab tries again until it does.";
      case "connecting":
        return "Asking the board who it is …";
      case "error":
        return this.error ?? "The board could not be reached. Press Connect to try again.";
      default:
        return "Nothing is streaming. Press Start.";
    }
  }

  // --- channels ----------------------------------------------------------------------------------

  showChannels(names) {
    if (names.join() === this.names?.join()) return; // their verdicts still hold
    this.names = names;
    this.root.style.setProperty("--scope-lanes", names.length);
    this.part("channels").replaceChildren(
      ...names.map((name) => {
        const row = document.createElement("div");
        const label = document.createElement("b");
        label.textContent = label.title = name;
        row.append(label, document.createElement("i"));
        return row;
      }),
    );
  }

  showQuality(words, reasons = []) {
    [...this.part("channels").children].forEach((row, index) => {
      const badge = row.querySelector("i");
      const word = words[index] ?? "";
      badge.dataset.quality = word;
      badge.textContent = reasons[index] ? `${word}: ${reasons[index]}` : word;
    });
  }

  // --- filters -----------------------------------------------------------------------------------

  /** Show what a running stream is filtered with; some of it may have been started elsewhere. */
  showFilters(filters) {
    for (const select of this.root.querySelectorAll("[data-filter]")) {
      const value = [filters[select.dataset.filter] ?? ""].flat().join(",");
      const isKnown = [...select.options].some((option) => option.value === value);
      if (!isKnown) select.append(new Option(value.replace(",", "–"), value));
      select.value = value;
    }
  }

  chosenFilters() {
    const filters = {};
    for (const { dataset, value } of this.root.querySelectorAll("[data-filter]")) {
      const numbers = value.split(",").map(Number);
      if (value) filters[dataset.filter] = numbers.length > 1 ? numbers : numbers[0];
    }
    return filters;
  }

  // --- messages and questions --------------------------------------------------------------------

  /** Say how something went; `more` is a link to where it can be looked at. */
  say(text, { kind = "info", more = null } = {}) {
    const message = this.part("message");
    message.dataset.kind = kind;
    message.textContent = text;
    if (!more) return;
    const link = document.createElement("a");
    Object.assign(link, { href: more.href, textContent: more.label });
    message.append(" ", link);
  }

  /** Ask before something is done that cannot be undone; resolves to whether it shall be. */
  ask(question, verb) {
    const dialog = this.part("ask");
    dialog.querySelector("p").textContent = question;
    dialog.querySelector("[value=yes]").textContent = verb;
    dialog.returnValue = "";
    dialog.showModal();
    return new Promise((resolve) => {
      const answer = () => resolve(dialog.returnValue === "yes");
      dialog.addEventListener("close", answer, { once: true });
    });
  }
}
