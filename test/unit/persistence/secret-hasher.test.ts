import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { createSecretHasher } from '../../../src/persistence/crypto/secret-hasher.ts';

const pepper = randomBytes(32);

describe('a secret hasher', () => {
  it('verifies what it hashed and nothing else', async () => {
    const hasher = createSecretHasher({ pepper });
    const hash = await hasher.hash('482915');
    expect(hash).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
    expect(await hasher.verify(hash, '482915')).toBe(true);
    expect(await hasher.verify(hash, '482916')).toBe(false);
    expect(await hasher.hash('482915')).not.toBe(hash);
  });

  it('verifies nothing with another pepper', async () => {
    const hash = await createSecretHasher({ pepper }).hash('secret');
    expect(await createSecretHasher({ pepper: randomBytes(32) }).verify(hash, 'secret')).toBe(false);
  });

  it('throws for a text that is no hash', async () => {
    await expect(createSecretHasher({ pepper }).verify('plain', 'secret')).rejects.toThrow();
  });

  it('refuses a short pepper', () => {
    expect(() => createSecretHasher({ pepper: randomBytes(15) })).toThrow(/16 bytes/);
  });

  it('bounds what waits: at the bound all are served, past it the next is refused', async () => {
    const hasher = createSecretHasher({ pepper, concurrency: 1, maxWaiting: 2 });
    const served = [hasher.hash('1'), hasher.hash('2'), hasher.hash('3')];
    await expect(hasher.hash('4')).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE', retryAfter: 1 });
    expect(await Promise.all(served)).toHaveLength(3);
    expect(await hasher.hash('5')).toMatch(/^\$argon2id/);
  });

  it('serves the urgent before all others, and keeps room for them when the queue is full', async () => {
    const hasher = createSecretHasher({ pepper, concurrency: 1, maxWaiting: 2 });
    const served: string[] = [];
    const ordinary = ['1', '2', '3'].map((name) => hasher.hash(name).then(() => served.push(name)));
    await expect(hasher.hash('4')).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
    const urgent = ['a', 'b'].map((name) => hasher.urgent.hash(name).then(() => served.push(name)));
    await expect(hasher.urgent.hash('c')).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE', retryAfter: 1 });
    await Promise.all([...ordinary, ...urgent]);
    expect(served).toEqual(['1', 'a', 'b', '2', '3']);
  });

  it('gives the turn on after a failure', async () => {
    const hasher = createSecretHasher({ pepper, concurrency: 1, maxWaiting: 2 });
    const results = await Promise.allSettled([hasher.verify('bad', 'x'), hasher.verify('bad', 'x'), hasher.hash('fine')]);
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'fulfilled']);
  });
});
