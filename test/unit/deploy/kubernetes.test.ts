/** deploy/kubernetes, parsed: no cluster is needed to hold that its parts fit each other, the server and the balancer's file. */
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { findBalancer } from '../../../scripts/lib/balancer.ts';
import { haproxySays } from './haproxy-says.ts';
import { options } from '../../../src/config-options.ts';

// biome-ignore lint/suspicious/noExplicitAny: what the files say is looked at by assertions
type Manifest = any;

const deploy = resolve(import.meta.dirname, '../../../deploy');

function read(name: string): Manifest[] {
  return parseAllDocuments(readFileSync(join(deploy, 'kubernetes', name), 'utf8'), { uniqueKeys: true, strict: true }).map((document) => {
    expect(document.errors).toEqual([]);
    expect(document.warnings).toEqual([]);
    return document.toJS() as Manifest;
  });
}

const nodes = read('nodes.yaml');
const balancer = read('balancer.yaml');
const all = [...nodes, ...balancer];
const find = (kind: string, name: string): Manifest => {
  const found = all.find((one) => one.kind === kind && one.metadata.name === name);
  if (found === undefined) throw new Error(`no ${kind} ${name}`);
  return found;
};
const stateful = find('StatefulSet', 'tmcp').spec;
const pod = stateful.template.spec;
const [container] = pod.containers;
const proxyPod = find('Deployment', 'tmcp-balancer').spec.template.spec;

describe('the manifests', () => {
  it('are of kinds and versions that Kubernetes 1.27 and later serve, all in one namespace', () => {
    const served = [
      'v1/ConfigMap',
      'v1/Service',
      'apps/v1/StatefulSet',
      'apps/v1/Deployment',
      'policy/v1/PodDisruptionBudget',
      'networking.k8s.io/v1/NetworkPolicy',
    ];
    for (const { apiVersion, kind, metadata } of all) {
      expect(served).toContain(`${apiVersion}/${kind}`);
      expect(metadata.namespace).toBe('tmcp');
    }
    expect(new Set(all.map(({ kind, metadata }) => `${kind} ${metadata.name}`)).size).toBe(all.length);
  });

  it('select the pods they mean', () => {
    for (const kind of ['StatefulSet', 'Deployment'])
      for (const { spec } of all.filter((one) => one.kind === kind))
        expect(spec.selector.matchLabels).toEqual(spec.template.metadata.labels);
    const nodeLabels = stateful.template.metadata.labels;
    expect(find('Service', 'tmcp-nodes').spec.selector).toEqual(nodeLabels);
    expect(find('PodDisruptionBudget', 'tmcp').spec.selector.matchLabels).toEqual(nodeLabels);
    expect(find('NetworkPolicy', 'tmcp').spec.podSelector.matchLabels).toEqual(nodeLabels);
    expect(find('Service', 'tmcp').spec.selector).toEqual(find('Deployment', 'tmcp-balancer').spec.selector.matchLabels);
  });

  it('hold no secret', () => {
    expect(all.filter(({ kind }) => kind === 'Secret')).toEqual([]);
    const secret = Object.values(options).filter((option) => 'secret' in option && option.secret !== undefined);
    for (const { env } of secret) expect(Object.keys(find('ConfigMap', 'tmcp').data)).not.toContain(env);
  });
});

describe('the nodes', () => {
  it('are given options that exist', () => {
    const known = Object.values(options).map(({ env }) => env);
    const given = [...Object.keys(find('ConfigMap', 'tmcp').data), ...container.env.map(({ name }: Manifest) => name)];
    for (const name of given) expect(known).toContain(name.replace(/_FILE$/, ''));
  });

  it('have the pod’s name, which no other has, and are reached at the pod’s address', () => {
    const from = Object.fromEntries(container.env.map(({ name, valueFrom }: Manifest) => [name, valueFrom.fieldRef.fieldPath]));
    expect(from).toEqual({ TMCP_NODE_NAME: 'metadata.name', TMCP_CLUSTER_ADDRESS: 'status.podIP' });
  });

  it('have time to drain before they are killed', () => {
    const { command } = container.lifecycle.preStop.exec;
    expect(command.slice(0, 4)).toEqual(['node', 'dist/main.js', 'drain', '--self']);
    const waitS = Number(command[command.indexOf('--wait') + 1]);
    const stopS = Number(find('ConfigMap', 'tmcp').data.TMCP_DRAIN_MS) / 1_000 + 20;
    expect(waitS).toBeGreaterThan(stopS);
    expect(pod.terminationGracePeriodSeconds).toBeGreaterThanOrEqual(waitS + stopS);
  });

  it('are taken out when not ready and restarted only when they do not answer at all', () => {
    expect(container.readinessProbe.httpGet.path).toBe('/readyz');
    expect(container.livenessProbe.httpGet.path).toBe('/healthz');
    expect(container.startupProbe.httpGet.path).toBe('/healthz');
    // Longer than a node's lease and a stall that it survives.
    expect(container.livenessProbe.periodSeconds * container.livenessProbe.failureThreshold).toBeGreaterThanOrEqual(15);
  });

  it('go one at a time', () => {
    expect(find('PodDisruptionBudget', 'tmcp').spec.maxUnavailable).toBe(1);
    expect(stateful.minReadySeconds).toBeGreaterThan(10);
    expect(stateful.updateStrategy.type).toBe('RollingUpdate');
  });

  it('run without rights, on a read-only root, with a volume for every mount', () => {
    for (const spec of [pod, proxyPod]) {
      expect(spec.securityContext.runAsNonRoot).toBe(true);
      expect(spec.automountServiceAccountToken).toBe(false);
      for (const one of spec.containers) {
        expect(one.securityContext).toEqual({
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ['ALL'] },
        });
        expect(one.volumeMounts.map(({ name }: Manifest) => name).sort()).toEqual(spec.volumes.map(({ name }: Manifest) => name).sort());
      }
    }
  });

  it('let in the balancer, each other and the scraper, each at its own port', () => {
    const rules = find('NetworkPolicy', 'tmcp').spec.ingress.map(({ ports }: Manifest) => ports.map(({ port }: Manifest) => port));
    expect(rules).toEqual([[8080], [7600], [9464]]);
    expect(container.ports.map(({ containerPort }: Manifest) => containerPort).sort()).toEqual([7600, 8080, 9464]);
  });

  it('keep their names while they drain, for a name that goes would cut their sockets', () => {
    const { spec } = find('Service', 'tmcp-nodes');
    expect([spec.clusterIP, spec.publishNotReadyAddresses, stateful.serviceName]).toEqual(['None', true, 'tmcp-nodes']);
  });
});

describe('the balancer', () => {
  const given: string = find('ConfigMap', 'tmcp-balancer').data['haproxy.cfg'];

  it('is deploy/haproxy/haproxy.cfg but for names, account, paths and the resolver', () => {
    const original = readFileSync(join(deploy, 'haproxy/haproxy.cfg'), 'utf8');
    const lines = (text: string): string[] =>
      text
        .replace(/^resolvers cluster\n( .*\n)+\n/m, '')
        .split('\n')
        .filter((line) => !/^ +(server |user |group |stats socket|bind )/.test(line) && !line.includes('admin.sock') && line !== '');
    expect(lines(given)).toEqual(lines(original));
  });

  it('knows as many nodes as may be asked for, by name, under ids that stay', () => {
    const servers = [...given.matchAll(/^ +server (\S+) (\S+) id (\d+) resolvers cluster init-addr none(.*)$/gm)];
    expect(servers).toHaveLength(24);
    expect(stateful.replicas).toBeLessThanOrEqual(8);
    for (const [index, [, name, address, id, rest]] of servers.entries()) {
      const place = index % 8;
      expect([name, address, id]).toEqual([`tmcp-${place}`, `tmcp-${place}.tmcp-nodes.tmcp.svc.cluster.local:8080`, `${place + 1}`]);
      expect(rest).toBe(index >= 8 && index < 16 ? ` track live/tmcp-${place}` : '');
    }
  });

  it.skipIf(findBalancer('haproxy') === undefined)('is a configuration that HAProxy takes', () => {
    expect(haproxySays(given)).toEqual([]);
  });

  it('is replaced by a new one first', () => {
    expect(find('Deployment', 'tmcp-balancer').spec.strategy.rollingUpdate).toEqual({ maxSurge: 1, maxUnavailable: 0 });
  });
});
