/** The live stream of one device over /v1/stream: connects, subscribes, comes back after a loss. */

const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 8000;
const LATER_MS = 15000; // where trying soon is of no use: too many subscriptions
const AWAY_MS = 1500; // a tab that is hidden for longer is sent nothing
const NOT_AUTHENTICATED = 4401;
const NOT_ALLOWED = 4403;
const NO_SUCH_DEVICE = 4404;
const TOO_MANY = 4429;
const RESTARTING = 1012;

export class Feed {
  /**
   * @param {string} deviceId
   * @param {object} facts
   * @param {number} facts.packetSeconds how much signal a packet holds, about
   * @param {(message: object) => void} facts.onMessage called with every message of the server
   * @param {(state: string, seconds?: number) => void} facts.onState called with "open", "away",
   *   "lost" or "restarting" (both with the seconds until the next attempt), "logged out", "refused"
   * @param {() => number} facts.history how many seconds of the past the screen has room for
   */
  constructor(deviceId, { packetSeconds, onMessage, onState, history }) {
    Object.assign(this, { deviceId, packetSeconds, onMessage, onState, history });
    this.filtered = true;
    this.sequence = null; // of the newest packet that came
    this.asked = 0; // subscriptions that were not answered yet: what comes is of an older one
    this.pause = FIRST_PAUSE_MS;
    this.isAway = false;
    document.addEventListener("visibilitychange", () => this.look());
    this.connect();
  }

  connect() {
    clearTimeout(this.retry);
    this.socket?.close();
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/v1/stream`);
    this.socket = socket;
    this.asked = 0;
    socket.onopen = () => {
      if (!this.isAway) this.subscribe(this.sequence);
    };
    socket.onmessage = ({ data }) => this.take(JSON.parse(data));
    socket.onclose = ({ code }) => {
      if (socket === this.socket) this.lose(code);
    };
  }

  take(message) {
    if (message.type === "subscribed") {
      this.asked -= 1;
      if (this.asked > 0) return;
      this.pause = FIRST_PAUSE_MS;
      this.onState("open");
      this.onMessage(message);
      if (this.sequence === null) this.begin(message);
    } else if (message.type === "data") {
      if (this.asked > 0) return;
      this.sequence = Math.max(this.sequence ?? 0, message.sequence);
      this.onMessage(message);
    } else if (message.error?.details?.fields?.after_sequence) {
      this.asked -= 1; // the server knows of no such packet: its data was replaced
      this.sequence = null;
      this.subscribe(null);
    } else {
      this.onMessage(message);
    }
  }

  /** A first answer says where the stream is; the next wish is for what fits on the screen. */
  begin({ status, next_sequence: next }) {
    if (!["streaming", "reconnecting"].includes(status) || next === 0) return;
    this.sequence = next - 1;
    this.refill();
  }

  /** Ask for the stretch that the screen shows, and for what follows. */
  refill() {
    if (this.sequence === null) return;
    const packets = Math.ceil(this.history() / this.packetSeconds);
    this.subscribe(Math.max(this.sequence - packets, -1));
  }

  lose(code) {
    if (code === NOT_AUTHENTICATED) return this.onState("logged out");
    if (code === NOT_ALLOWED || code === NO_SUCH_DEVICE) return this.onState("refused");
    const wait = code === TOO_MANY ? LATER_MS : this.pause * (0.5 + Math.random());
    this.pause = Math.min(2 * this.pause, LONGEST_PAUSE_MS);
    this.retry = setTimeout(() => this.connect(), wait);
    return this.onState(code === RESTARTING ? "restarting" : "lost", wait / 1000);
  }

  /** Ask for packets: with a number, for those after it, so that the trace has no hole. */
  subscribe(after) {
    const wish = {
      type: "subscribe",
      device_id: this.deviceId,
      filtered: this.filtered,
      on_lag: "live",
    };
    if (after !== null) wish.after_sequence = after;
    if (this.send(wish)) this.asked += 1;
  }

  /** Show the filtered or the raw signal, of the past too. */
  setFiltered(filtered) {
    this.filtered = filtered;
    if (this.sequence === null) this.subscribe(null);
    else this.refill();
  }

  /** A hidden tab takes nothing; one that is looked at again goes on with the present. */
  look() {
    clearTimeout(this.leaving);
    if (document.hidden) {
      this.leaving = setTimeout(() => {
        this.isAway = true;
        if (this.send({ type: "unsubscribe", device_id: this.deviceId })) this.onState("away");
      }, AWAY_MS);
    } else if (this.socket.readyState === WebSocket.CLOSED) {
      this.isAway = false;
      this.connect();
    } else if (this.isAway) {
      this.isAway = false;
      this.sequence = null;
      this.subscribe(null);
    }
  }

  /** Send a message if there is a connection; return whether there is. */
  send(message) {
    const isOpen = this.socket.readyState === WebSocket.OPEN;
    if (isOpen) this.socket.send(JSON.stringify(message));
    return isOpen;
  }
}
