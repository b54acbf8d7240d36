/**
 * The newest samples of a stream. A sample that is not there is NaN: it was not sent to this page,
 * or it lies in one of the `gaps`, which the server tells of.
 */

const MOST_GAPS = 500;

export class Ring {
  constructor(streamId, nChannels, sfreq, seconds) {
    this.streamId = streamId;
    this.nChannels = nChannels;
    this.sfreq = sfreq;
    this.capacity = Math.ceil(sfreq * seconds);
    this.data = Array.from({ length: nChannels }, () => new Float32Array(this.capacity).fill(NaN));
    this.end = null; // index in the stream of the sample after the newest
    this.gaps = []; // {first, stop, isLost}
    this.lost = 0; // samples in gaps of the stream
    this.clock = null; // {sample, ms}: when a sample was taken
    this.rewritten = 0; // counts changes of what lies before the newest sample
  }

  copy() {
    const copy = new Ring(this.streamId, 0, this.sfreq, 0);
    const data = this.data.map((channel) => channel.slice());
    return Object.assign(copy, this, { data, gaps: [...this.gaps] });
  }

  /** First sample that there is room for. */
  get oldest() {
    return Math.max(this.end - this.capacity, 0);
  }

  /** Take rows of samples beginning at a sample of the stream. */
  push(first, rows, ms) {
    if (this.end === null) this.end = first;
    if (first < this.end) this.rewritten += 1;
    this.forget(this.end, first);
    const stop = first + rows.length;
    this.end = Math.max(this.end, stop);
    for (let k = Math.max(this.oldest - first, 0); k < rows.length; k += 1) {
      const at = (first + k) % this.capacity;
      const row = rows[k];
      for (let c = 0; c < this.nChannels; c += 1) this.data[c][at] = row[c];
    }
    this.clock = { sample: first, ms };
  }

  /** Note that samples are missing: lost by the board, or only not sent to this page. */
  addGap(first, n, isLost) {
    if (this.gaps.some((gap) => gap.first === first)) return; // replayed
    this.gaps = [...this.gaps, { first, stop: first + n, isLost }].slice(-MOST_GAPS);
    if (isLost) this.lost += n;
    this.rewritten += 1;
  }

  forget(from, to) {
    for (let i = Math.max(from, to - this.capacity); i < to; i += 1) {
      for (const channel of this.data) channel[i % this.capacity] = NaN;
    }
  }

  /** Mean of what there is of a channel between two samples; 0 if there is nothing. */
  mean(channel, from, to) {
    const samples = this.data[channel];
    const stop = Math.min(Math.ceil(to), this.end);
    let i = Math.max(Math.ceil(from), this.oldest);
    let at = i % this.capacity;
    let sum = 0;
    let n = 0;
    for (; i < stop; i += 1) {
      const value = samples[at];
      if (value === value) { sum += value; n += 1; }
      at += 1;
      if (at === this.capacity) at = 0;
    }
    return n ? sum / n : 0;
  }

  /** Milliseconds since the epoch at which a sample was taken. */
  timeOf(sample) {
    return this.clock.ms + ((sample - this.clock.sample) * 1000) / this.sfreq;
  }

  /** The sample that was taken at a moment; fractions allowed. */
  sampleAt(ms) {
    return this.clock.sample + ((ms - this.clock.ms) * this.sfreq) / 1000;
  }
}
