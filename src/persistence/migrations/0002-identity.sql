-- Identity: people, mini-apps, what people allowed them, what the OAuth library stores, withdrawn tokens, sign-in throttling.

CREATE TABLE users (
  user_id text PRIMARY KEY,
  display_name text NOT NULL,
  avatar_url text,
  password_hash text,
  status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended')),
  wallet_id text,
  created_at bigint NOT NULL,
  updated_at bigint NOT NULL
);

CREATE TABLE apps (
  app_id text PRIMARY KEY,
  name text NOT NULL,
  developer text NOT NULL DEFAULT '',
  client_type text NOT NULL CHECK (client_type IN ('public', 'confidential', 'hybrid')),
  classification text NOT NULL CHECK (classification IN ('official', 'verified', 'community', 'beta')),
  status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended')),
  scopes jsonb NOT NULL,
  preapproved_scopes jsonb NOT NULL DEFAULT '[]',
  redirect_uris jsonb NOT NULL,
  secret_hash text,
  created_at bigint NOT NULL,
  updated_at bigint NOT NULL
);

CREATE TABLE consents (
  user_id text NOT NULL,
  app_id text NOT NULL,
  scope text NOT NULL,
  scope_hash text NOT NULL,
  method text NOT NULL CHECK (method IN ('initial', 'consent_ui', 'transaction', 'preapproved')),
  approved_at bigint NOT NULL,
  PRIMARY KEY (user_id, app_id, scope)
);

CREATE TABLE oauth_models (
  kind text NOT NULL,
  id text NOT NULL,
  payload jsonb NOT NULL,
  grant_id text,
  account_id text,
  client_id text,
  user_code text,
  uid text,
  expires_at bigint NOT NULL,
  consumed_at bigint,
  PRIMARY KEY (kind, id)
);

CREATE INDEX oauth_models_grant ON oauth_models (grant_id) WHERE grant_id IS NOT NULL;

CREATE INDEX oauth_models_pair ON oauth_models (account_id, client_id) WHERE account_id IS NOT NULL;

CREATE INDEX oauth_models_uid ON oauth_models (uid) WHERE uid IS NOT NULL;

CREATE INDEX oauth_models_user_code ON oauth_models (user_code) WHERE user_code IS NOT NULL;

CREATE INDEX oauth_models_expiry ON oauth_models (expires_at);

CREATE TABLE revocations (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  token_id text,
  grant_id text,
  user_id text,
  app_id text,
  at bigint NOT NULL,
  expires_at bigint NOT NULL
);

CREATE UNIQUE INDEX revocations_token ON revocations (token_id) WHERE token_id IS NOT NULL;

CREATE UNIQUE INDEX revocations_grant ON revocations (grant_id) WHERE grant_id IS NOT NULL;

CREATE INDEX revocations_expiry ON revocations (expires_at);

CREATE TABLE sign_in_guards (
  subject text PRIMARY KEY,
  failures integer NOT NULL,
  locks integer NOT NULL,
  locked_until bigint NOT NULL,
  updated_at bigint NOT NULL
);
