/** The metrics as a scrape sees them. */
import { describe, expect, it } from 'vitest';
import { createMetrics, metricsText } from '../../../src/metrics.ts';

async function lines(metrics: ReturnType<typeof createMetrics>): Promise<string[]> {
  return (await metricsText(metrics)).body.split('\n');
}

describe('createMetrics', () => {
  it('counts by label values', async () => {
    const metrics = createMetrics(false);
    const cell = metrics.httpRequests.with('GET', '/healthz', '200');
    cell.inc();
    metrics.httpRequests.with('GET', '/healthz', '200').inc(2);
    metrics.httpRequests.with('GET', '/healthz', '503').inc();
    expect(await lines(metrics)).toEqual(
      expect.arrayContaining([
        '# TYPE http_requests_total counter',
        'http_requests_total{method="GET",route="/healthz",status="200"} 3',
        'http_requests_total{method="GET",route="/healthz",status="503"} 1',
      ]),
    );
  });

  it('puts an observation into the first bucket that holds it and all above', async () => {
    const metrics = createMetrics(false);
    for (const value of [1, 2, 2.5, 5000]) metrics.journalGroupSize.observe(value);
    expect(await lines(metrics)).toEqual(
      expect.arrayContaining([
        'journal_group_size_bucket{le="1"} 1',
        'journal_group_size_bucket{le="2"} 2',
        'journal_group_size_bucket{le="4"} 3',
        'journal_group_size_bucket{le="2048"} 3',
        'journal_group_size_bucket{le="+Inf"} 4',
        'journal_group_size_sum 5005.5',
        'journal_group_size_count 4',
      ]),
    );
  });

  it('asks a gauge for its value at the scrape', async () => {
    const metrics = createMetrics(false);
    let waiting = 1;
    metrics.journalBacklogEntries.from(() => waiting);
    waiting = 7;
    metrics.liveSessions.add(2);
    metrics.liveSessions.add(-1);
    expect(await lines(metrics)).toEqual(expect.arrayContaining(['journal_backlog_entries 7', 'live_sessions 1']));
  });

  it('escapes label values', async () => {
    const metrics = createMetrics(false);
    metrics.liveCloses.with('a"b\\c\nd').inc();
    expect(await lines(metrics)).toContain('live_closes_total{code="a\\"b\\\\c\\nd"} 1');
  });

  it('holds at most a thousand label sets of a metric and one for the rest', async () => {
    const metrics = createMetrics(false);
    for (let i = 0; i < 1_500; i += 1) metrics.liveMessages.with(`m${i}`, 'ok').inc();
    const shown = (await lines(metrics)).filter((line) => line.startsWith('live_messages_total{'));
    expect(shown).toHaveLength(1_001);
    expect(shown).toContain('live_messages_total{method="other",outcome="other"} 500');
  });

  it('has the metrics of the process, the event loop among them', async () => {
    const text = (await lines(createMetrics())).join('\n');
    expect(text).toContain('nodejs_eventloop_lag_seconds');
    expect(text).toContain('process_resident_memory_bytes');
  });
});
