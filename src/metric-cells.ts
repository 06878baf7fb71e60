/**
 * Counters, gauges and histograms as plain numbers: what a message touches costs an addition, and the text for Prometheus is
 * made when somebody scrapes. A family hands out one cell a set of label values; callers on a hot path keep the cell.
 */

/** One sample as the registry prints it. */
export interface Sample {
  readonly value: number;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly metricName?: string;
}

/** Label values beyond this many sets fall together as `other`: a peer must not be able to grow our memory. */
const maxCells = 1_000;

/** A count that only grows. */
export class CounterCell {
  #value = 0;
  #read: (() => number) | undefined;

  inc(by = 1): void {
    this.#value += by;
  }

  /** From now on the value is what `read`, which must only grow, gives at the scrape. */
  from(read: () => number): void {
    this.#read = read;
  }

  samples(labels: Sample['labels']): Sample[] {
    return [{ labels, value: this.#read?.() ?? this.#value }];
  }
}

/** A number that goes up and down, or one that is asked for at each scrape. */
export class GaugeCell {
  #value = 0;
  #read: (() => number) | undefined;

  set(value: number): void {
    this.#value = value;
  }

  add(by: number): void {
    this.#value += by;
  }

  /** From now on the value is what `read` gives at the scrape. */
  from(read: () => number): void {
    this.#read = read;
  }

  samples(labels: Sample['labels']): Sample[] {
    return [{ labels, value: this.#read?.() ?? this.#value }];
  }
}

/** A distribution over fixed buckets; `bounds` ascend and share the unit of what is observed. */
export class HistogramCell {
  readonly #name: string;
  readonly #bounds: readonly number[];
  readonly #counts: Float64Array;
  #sum = 0;
  #count = 0;

  constructor(name: string, bounds: readonly number[]) {
    this.#name = name;
    this.#bounds = bounds;
    this.#counts = new Float64Array(bounds.length);
  }

  observe(value: number): void {
    this.#sum += value;
    this.#count += 1;
    for (let i = 0; i < this.#bounds.length; i += 1) {
      if (value <= (this.#bounds[i] as number)) {
        this.#counts[i] = (this.#counts[i] as number) + 1;
        return;
      }
    }
  }

  samples(labels: Sample['labels']): Sample[] {
    let below = 0;
    const buckets = this.#bounds.map((le, i) => {
      below += this.#counts[i] as number;
      return { metricName: `${this.#name}_bucket`, labels: { ...labels, le }, value: below };
    });
    return [
      ...buckets,
      { metricName: `${this.#name}_bucket`, labels: { ...labels, le: '+Inf' }, value: this.#count },
      { metricName: `${this.#name}_sum`, labels, value: this.#sum },
      { metricName: `${this.#name}_count`, labels, value: this.#count },
    ];
  }
}

interface Cell {
  samples(labels: Sample['labels']): Sample[];
}

/** Cells of one metric by their label values. */
export class Family<const Labels extends readonly string[], C extends Cell> {
  readonly name: string;
  readonly #labels: Labels;
  readonly #make: () => C;
  readonly #cells = new Map<string, { readonly values: readonly string[]; readonly cell: C }>();

  constructor(name: string, labels: Labels, make: () => C) {
    this.name = name;
    this.#labels = labels;
    this.#make = make;
  }

  /** The cell of these label values, in the order of the labels. */
  with(...values: { readonly [K in keyof Labels]: string }): C {
    const key = values.length === 1 ? (values[0] as string) : values.join('\u0000');
    const found = this.#cells.get(key);
    if (found !== undefined) return found.cell;
    const full = this.#cells.size >= maxCells;
    const kept = full ? values.map(() => 'other') : [...values];
    const keptKey = full ? kept.join('\u0000') : key;
    const known = this.#cells.get(keptKey);
    if (known !== undefined) return known.cell;
    const cell = this.#make();
    this.#cells.set(keptKey, { values: kept, cell });
    return cell;
  }

  samples(): Sample[] {
    return [...this.#cells.values()].flatMap(({ values, cell }) =>
      cell.samples(Object.fromEntries(this.#labels.map((label, i) => [label, values[i] ?? '']))),
    );
  }
}
