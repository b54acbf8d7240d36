/**
 * The screen: draws the newest stretch of a ring.
 *
 * Each pixel column shows the lowest and the highest of its samples, so a spike of one sample is
 * seen at any time base. Columns are drawn once, on a strip that is used as a ring as well; a frame
 * draws the few that are new and copies the strip.
 */

const LEFT = 148; // CSS pixels kept for names and verdicts: --scope-left of the style sheet
const FOOT = 18; // and for the time of day: --scope-foot
const DELAY_SECONDS = 0.1; // the newest packets wait this long, so that the trace moves evenly
const JUMP_SECONDS = 0.3; // what is further off than this is no jitter: the screen jumps there
const SPILL = 0.5; // of a lane: how far a trace may reach into its neighbours
const LEVEL_MS = 500; // how often the level of each channel is looked at
const modulo = (a, n) => ((a % n) + n) % n;

export class Screen {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
    this.strip = document.createElement("canvas");
    this.ink = this.strip.getContext("2d");
    this.seconds = 5;
    this.gain = 50; // microvolts from the middle of a channel's lane to its edge
    this.ring = null;
    this.markers = []; // {streamId, sample, label}
    this.head = null; // sample at the right edge, fractions allowed
    this.arrived = 0;
    this.frozen = false;
    this.frames = 0;
    new ResizeObserver(() => this.fit()).observe(canvas);
    new MutationObserver(() => this.dress()).observe(document.documentElement, {
      attributes: true,
      attributeFilter: ["class"],
    });
    this.dress();
    this.fit();
  }

  /** Take the colours from the style sheet: they change with the theme. */
  dress() {
    const style = getComputedStyle(this.canvas);
    const colour = (name) => style.getPropertyValue(`--scope-${name}`).trim();
    this.colours = {
      back: colour("back"),
      grid: colour("grid"),
      text: colour("text"),
      lost: colour("lost"),
      unseen: colour("unseen"),
      marker: colour("marker"),
      traces: colour("traces").split(/\s+/),
    };
    this.redraw();
  }

  fit() {
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.max(1, Math.round(this.canvas.clientWidth * ratio));
    this.canvas.height = Math.max(1, Math.round(this.canvas.clientHeight * ratio));
    this.left = Math.round(LEFT * ratio);
    this.ratio = ratio;
    this.strip.width = Math.max(1, this.canvas.width - this.left);
    this.strip.height = Math.max(1, this.canvas.height - Math.round(FOOT * ratio));
    this.redraw();
  }

  /** Draw all columns anew with the next frame. */
  redraw() {
    this.drawn = null;
  }

  setGain(gain) {
    this.gain = gain;
    this.redraw();
  }

  setSeconds(seconds) {
    this.seconds = seconds;
    this.redraw();
  }

  /** Show a ring from its newest sample on. */
  show(ring) {
    this.ring = ring;
    this.head = ring.end === null ? null : ring.end - DELAY_SECONDS * ring.sfreq;
    this.arrived = performance.now();
    this.frozen = false;
    this.redraw();
  }

  /** Show what there is now, and go on showing it, whatever arrives. */
  freeze() {
    if (this.ring === null) return;
    const now = performance.now();
    this.head = this.headAt(now);
    this.ring = this.ring.copy();
    this.frozen = true;
    this.draw(now);
  }

  /** Say that packets have arrived; the right edge glides after them. */
  arrive() {
    const now = performance.now();
    const wanted = this.ring.end - DELAY_SECONDS * this.ring.sfreq;
    const shown = this.headAt(now);
    // Follow the packets' own pace; jump only when far off, as after a replay or a gap.
    const isFar = shown === null || Math.abs(wanted - shown) > JUMP_SECONDS * this.ring.sfreq;
    this.head = isFar ? wanted : shown + 0.05 * (wanted - shown);
    this.arrived = now;
  }

  headAt(now) {
    if (this.head === null || this.frozen) return this.head;
    return Math.min(this.head + ((now - this.arrived) / 1000) * this.ring.sfreq, this.ring.end);
  }

  draw(now) {
    if (window.devicePixelRatio !== this.ratio) this.fit();
    const { context, ring, strip } = this;
    context.fillStyle = this.colours.back;
    context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    if (ring !== null && this.head !== null) {
      const samplesAColumn = (this.seconds * ring.sfreq) / strip.width;
      const newest = Math.floor(this.headAt(now) / samplesAColumn) - 1;
      this.drawColumns(newest, samplesAColumn, now);
      const start = (newest + 1 - strip.width) * samplesAColumn;
      const place = (sample) => this.left + (sample - start) / samplesAColumn;
      this.drawTime(start, place);
      const seam = modulo(newest + 1, strip.width);
      this.copyStrip(seam, strip.width - seam, this.left);
      this.copyStrip(0, seam, this.left + strip.width - seam);
      this.drawMarkers(place);
    }
    this.frames += 1;
  }

  copyStrip(from, width, to) {
    if (width === 0) return;
    const { height } = this.strip;
    this.context.drawImage(this.strip, from, 0, width, height, to, 0, width, height);
  }

  // --- columns -----------------------------------------------------------------------------------

  /** Draw the columns up to the newest that the strip does not have yet. */
  drawColumns(newest, samplesAColumn, now) {
    const { ring, strip } = this;
    const start = (newest + 1 - strip.width) * samplesAColumn;
    this.keepLevels(start, start + strip.width * samplesAColumn, now);
    const stale = this.drawn === null || this.rewritten !== ring.rewritten;
    const from = stale || newest < this.drawn ? newest + 1 - strip.width : this.drawn + 1;
    const first = Math.max(from, newest + 1 - strip.width);
    if (stale || first !== this.drawn + 1) this.pens = ring.data.map(() => null);
    if (first <= newest) {
      this.clear(first, newest);
      this.drawGaps(first, newest, samplesAColumn);
      for (let c = 0; c < ring.nChannels; c += 1) this.drawChannel(c, first, newest, samplesAColumn);
    }
    this.drawn = newest;
    this.rewritten = ring.rewritten;
  }

  /** Call `paint(x, width)` for where columns lie on the strip: in one piece or in two. */
  eachPiece(first, last, paint) {
    const { width } = this.strip;
    const x = modulo(first, width);
    const whole = last + 1 - first;
    const before = Math.min(whole, width - x);
    paint(x, before);
    if (before < whole) paint(0, whole - before);
  }

  clear(first, last) {
    this.eachPiece(first, last, (x, width) => this.ink.clearRect(x, 0, width, this.strip.height));
  }

  drawGaps(first, last, samplesAColumn) {
    for (const gap of this.ring.gaps) {
      const from = Math.max(Math.floor(gap.first / samplesAColumn), first);
      const to = Math.min(Math.ceil(gap.stop / samplesAColumn) - 1, last);
      if (from > to) continue;
      this.ink.fillStyle = gap.isLost ? this.colours.lost : this.colours.unseen;
      this.eachPiece(from, to, (x, width) => this.ink.fillRect(x, 0, width, this.strip.height));
    }
  }

  /**
   * Electrodes sit on an offset of millivolts: the level of what is shown is taken off the picture.
   * It moves in steps, each of which costs a drawing of all columns; it stays in a frozen picture.
   */
  keepLevels(start, stop, now) {
    const { ring } = this;
    if (this.drawn !== null && (this.frozen || now - this.levelled < LEVEL_MS)) return;
    this.levelled = now;
    const means = ring.data.map((_, c) => ring.mean(c, start, stop));
    if (this.drawn !== null && this.levels?.length === means.length) {
      if (means.every((mean, c) => Math.abs(mean - this.levels[c]) < this.gain / 4)) return;
    }
    this.levels = means;
    this.redraw();
  }

  drawChannel(index, first, last, samplesAColumn) {
    const { ring, ink, strip } = this;
    const { capacity, oldest, end } = ring;
    const samples = ring.data[index];
    const lane = strip.height / ring.nChannels;
    const middle = (index + 0.5) * lane;
    const top = middle - (0.5 + SPILL) * lane;
    const bottom = middle + (0.5 + SPILL) * lane;
    const scale = lane / 2 / this.gain;
    const level = this.levels[index];
    const origin = modulo(first, strip.width) - first;
    const path = new Path2D();
    let pen = this.pens[index]; // where the line of the columns before ends
    if (pen !== null) path.moveTo(origin + pen.column + 0.5, pen.y);
    const leftmost = pen === null ? first : pen.column;
    for (let column = first; column <= last; column += 1) {
      const from = Math.max(Math.ceil(column * samplesAColumn), oldest);
      const stop = Math.min(Math.ceil((column + 1) * samplesAColumn), end);
      let low = Infinity;
      let high = -Infinity;
      let at = from % capacity;
      for (let i = from; i < stop; i += 1) {
        const value = samples[at];
        if (value < low) low = value; // neither is true of NaN
        if (value > high) high = value;
        at += 1;
        if (at === capacity) at = 0;
      }
      if (low <= high) {
        const above = Math.max(Math.min(middle - (high - level) * scale, bottom), top);
        const below = Math.max(Math.min(middle - (low - level) * scale, bottom), top);
        const x = origin + column + 0.5;
        const isNearBelow = pen !== null && Math.abs(pen.y - below) < Math.abs(pen.y - above);
        const [enter, leave] = isNearBelow ? [below, above] : [above, below];
        if (pen === null) path.moveTo(x, enter);
        else path.lineTo(x, enter);
        path.lineTo(x, leave === enter ? leave + 0.01 : leave);
        pen = { column, y: leave };
      } else if (from < stop) {
        pen = null; // there should have been samples
      }
    }
    this.pens[index] = pen;
    ink.strokeStyle = this.colours.traces[index % this.colours.traces.length];
    ink.lineWidth = this.ratio;
    ink.stroke(path);
    if (origin + last >= strip.width) this.strokeShifted(path, -strip.width);
    if (origin + leftmost < 0) this.strokeShifted(path, strip.width);
  }

  strokeShifted(path, by) {
    this.ink.translate(by, 0);
    this.ink.stroke(path);
    this.ink.translate(-by, 0);
  }

  // --- what is drawn over or under them ----------------------------------------------------------

  drawTime(start, place) {
    const { context, ring, canvas, strip, ratio } = this;
    const step = this.seconds <= 5 ? 1000 : this.seconds <= 10 ? 2000 : 5000;
    context.font = `${11 * ratio}px ui-sans-serif, system-ui, sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "alphabetic";
    context.fillStyle = this.colours.text;
    context.fillText("UTC", this.left - 20 * ratio, canvas.height - 5 * ratio);
    const stop = ring.timeOf(start + this.seconds * ring.sfreq);
    for (let ms = Math.ceil(ring.timeOf(start) / step) * step; ms < stop; ms += step) {
      const x = Math.round(place(ring.sampleAt(ms)));
      context.fillStyle = this.colours.grid;
      context.fillRect(x, 0, 1, strip.height);
      if (x < this.left + 30 * ratio || x > canvas.width - 30 * ratio) continue;
      context.fillStyle = this.colours.text;
      context.fillText(new Date(ms).toISOString().slice(11, 19), x, canvas.height - 5 * ratio);
    }
  }

  drawMarkers(place) {
    const { context, ratio, ring } = this;
    context.fillStyle = this.colours.marker;
    context.textAlign = "left";
    for (const { streamId, sample, label } of this.markers) {
      if (streamId !== ring.streamId) continue;
      const x = Math.round(place(sample));
      if (x < this.left || x > this.canvas.width) continue;
      context.fillRect(x, 0, Math.ceil(ratio), this.strip.height);
      context.fillText(label, x + 4 * ratio, 12 * ratio);
    }
  }
}
