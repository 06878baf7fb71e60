/** The text made from the table: held by a snapshot, so that no option changes its name, default or meaning unseen. */
import { describe, expect, it } from 'vitest';
import { options } from '../../../src/config-options.ts';
import { loadConfig } from '../../../src/config.ts';
import { describeConfig } from '../../../src/config-text.ts';

describe('describeConfig', () => {
  it('says the same as before', () => {
    expect(describeConfig().help).toMatchSnapshot();
  });

  it('names every option in each text', () => {
    const { markdown, envExample, help } = describeConfig();
    for (const { env } of Object.values(options)) {
      expect(markdown).toContain(`| \`${env}\` |`);
      expect(envExample).toContain(`\n# ${env}=`);
      expect(help).toContain(`\n  ${env}\n`);
    }
  });

  it('shows defaults that the loader takes', () => {
    const lines = describeConfig().envExample.matchAll(/^# ([A-Z_]+)=(.*)$/gm);
    const env = Object.fromEntries([...lines].map(([, name, value]) => [name, value]));
    expect(loadConfig(env, 'dev')).toMatchObject({ host: '0.0.0.0', lanes: 2 });
  });
});
