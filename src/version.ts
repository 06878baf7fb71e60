/** The version of this server, as `tmcp --version`, other nodes and operators see it; a test holds it to package.json. */
export const version = '0.1.0';
