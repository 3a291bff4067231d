// oidc-provider as the authorization server of a protected MCP server, both on 127.0.0.1.
//
//   node server.mjs [--port N] [--mcp-port N] [--path /tenant1] [--access-ttl SECONDS]
//                   [--token-format opaque|jwt] [--refresh offline|always]
//                   [--token-delay MILLISECONDS] [--grace SECONDS]
//
//   --path           mount the authorization server there; the path is part of its issuer
//   --token-format   of access tokens
//   --refresh        offline: only for a granted `offline_access` (which takes `prompt=consent`);
//                    always: to every client that registered for the refresh grant
//   --secret-ttl     clients have a secret that lives for so many seconds, and a new one from each
//                    change of their registration; to register takes the initial access token that
//                    the line names
//   --client-jwk     the public key of the client `by-key`, which proves itself by private_key_jwt
//   --dpop           bind tokens to keys (RFC 9449), with nonces
//   --pushed         authorization requests must be pushed (RFC 9126)
//   --signed         authorization requests must be signed (RFC 9101)
//   --token-delay    between what a token request does and its answer
//   --grace          how long a refresh token is taken again after it was rotated
//
// When ready, prints one line that begins with `{"ready":true`, and ends with its stdin.
//
// Control, at the URL that the line names:
//   GET  stats                  counts since the start, see `stats`
//   GET  refreshes              every refresh in order: when it arrived (ms), the token it came
//                               with, what came of it, and the access token that was issued
//   POST revoke-refresh-tokens  forgets all refresh tokens, codes and grants
//   POST expire-access-tokens   no access token issued so far is accepted any more
//   POST forget-clients         forgets all registrations
//   POST lose-token-requests    token requests arrive, and nothing is done or answered
//   POST lose-token-answers     token requests are granted, and the answer never comes
//   POST lose-nothing           the end of both

import {
  createPublicKey,
  generateKeyPairSync,
  randomBytes,
  verify as verifySignature,
} from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { parseArgs } from 'node:util';

import Provider, { errors } from 'oidc-provider';

import { SCOPE, resourceServer } from './resource.mjs';
import { Store } from './store.mjs';

const { values: options } = parseArgs({
  options: {
    port: { type: 'string', default: '0' },
    'mcp-port': { type: 'string', default: '0' },
    path: { type: 'string', default: '' },
    'access-ttl': { type: 'string', default: '3600' },
    'token-format': { type: 'string', default: 'opaque' },
    refresh: { type: 'string', default: 'offline' },
    'secret-ttl': { type: 'string', default: '0' },
    'client-jwk': { type: 'string' },
    dpop: { type: 'boolean', default: false },
    pushed: { type: 'boolean', default: false },
    signed: { type: 'boolean', default: false },
    'token-delay': { type: 'string', default: '0' },
    grace: { type: 'string', default: '0' },
  },
});
const accessTTL = Number(options['access-ttl']);
const tokenDelay = Number(options['token-delay']);
const grace = Number(options.grace);
const tokenFormat = options['token-format'];
const secretTTL = Number(options['secret-ttl']);
check(Number.isInteger(accessTTL) && accessTTL > 0, '--access-ttl is a number of seconds');
check(Number.isInteger(secretTTL) && secretTTL >= 0, '--secret-ttl is a number of seconds');
check(tokenDelay >= 0, '--token-delay is a number of milliseconds');
check(grace >= 0, '--grace is a number of seconds');
check(/^(\/[\w-]+)*$/.test(options.path), '--path begins with a slash and does not end with one');
check(['opaque', 'jwt'].includes(tokenFormat), '--token-format is opaque or jwt');
check(['offline', 'always'].includes(options.refresh), '--refresh is offline or always');

const stats = {
  registrations: 0,
  registrationsUpdated: 0,
  registrationsDeleted: 0,
  authorizations: 0, // that ended with a code
  authorizationErrors: 0, // a person's refusal is one
  tokenRequests: 0,
  codeGrants: 0,
  deviceGrants: 0,
  pendingPolls: 0, // with a code that nobody had entered yet, or too soon
  refreshGrants: 0,
  invalidGrants: 0,
  refreshReuse: 0, // of those: a rotated refresh token came again
  revocations: 0, // of a whole grant: by the client, or because of reuse
  mcpRequests: 0, // that a good token came with
  unauthorized: 0,
  withoutNonce: 0, // a proof that was good but for that
  forbidden: 0,
};

// A port is needed for the issuer and the issuer for the provider: listen first, serve after.
const [asServer, rsServer] = [createServer(), createServer()];
const issuer = (await listen(asServer, options.port)) + options.path;
const origin = await listen(rsServer, options['mcp-port']);
const mcp = `${origin}/mcp`;

const store = new Store(grace);
const key = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
const provider = new Provider(issuer, {
  adapter: store.Adapter,
  jwks: { keys: [{ ...key.export({ format: 'jwk' }), use: 'sig', alg: 'RS256', kid: 'key' }] },
  clients: options['client-jwk'] ? [clientWithKey(JSON.parse(options['client-jwk']))] : [],
  cookies: { keys: ['not a secret: this server is a test'] },
  findAccount: (_ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  pkce: { required: () => true },
  rotateRefreshToken: true,
  ...(secretTTL > 0 && { clientAuthMethods: ['client_secret_basic', 'client_secret_post'] }),
  ...(options.refresh === 'always' && {
    issueRefreshToken: (_ctx, client) => client.grantTypeAllowed('refresh_token'),
  }),
  ttl: { Grant: 86400, IdToken: 3600, Interaction: 3600, RefreshToken: 86400, Session: 86400 },
  features: {
    devInteractions: { enabled: true },
    pushedAuthorizationRequests: {
      enabled: true,
      requirePushedAuthorizationRequests: options.pushed,
    },
    requestObjects: { enabled: options.signed, requireSignedRequestObject: options.signed },
    dPoP: {
      enabled: options.dpop,
      ...(options.dpop && { nonceSecret: randomBytes(32), requireNonce: () => true }),
    },
    deviceFlow: { enabled: true },
    introspection: { enabled: true },
    registration: {
      enabled: true,
      ...(secretTTL > 0 && {
        initialAccessToken: true,
        policies: { 'expiring-secret': expiringSecret },
      }),
    },
    registrationManagement: { enabled: true, rotateRegistrationAccessToken: true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_ctx, resource) => {
        if (resource !== mcp) throw new errors.InvalidTarget();
        return {
          scope: SCOPE,
          audience: mcp,
          accessTokenTTL: accessTTL,
          accessTokenFormat: tokenFormat,
          jwt: { sign: { alg: 'RS256' } },
        };
      },
    },
  },
});

// Identifiers of the access tokens that the MCP server accepts.
const accepted = new Set();
for (const event of ['access_token.saved', 'access_token.issued']) {
  provider.on(event, (token) => accepted.add(token.jti));
}
provider.on('access_token.destroyed', (token) => accepted.delete(token.jti));

const counted = {
  'registration_create.success': 'registrations',
  'registration_update.success': 'registrationsUpdated',
  'registration_delete.success': 'registrationsDeleted',
  'authorization.success': 'authorizations',
  'authorization.error': 'authorizationErrors',
  'grant.revoked': 'revocations',
};
for (const [event, count] of Object.entries(counted)) {
  provider.on(event, () => {
    stats[count] += 1;
  });
}
provider.on('grant.success', (ctx) => {
  const counts = { refresh_token: 'refreshGrants', authorization_code: 'codeGrants' };
  stats[counts[ctx.oidc.params.grant_type] ?? 'deviceGrants'] += 1;
  keepRefresh(ctx, 'granted', ctx.body.access_token);
});
provider.on('grant.error', (ctx, error) => {
  const reused = error.error_detail === 'refresh token already used';
  if (error.error === 'invalid_grant') stats.invalidGrants += 1;
  if (['authorization_pending', 'slow_down'].includes(error.error)) stats.pendingPolls += 1;
  if (reused) stats.refreshReuse += 1;
  keepRefresh(ctx, reused ? 'reused' : 'refused');
});

const refreshes = [];
function keepRefresh(ctx, outcome, accessToken) {
  const { grant_type: grantType, refresh_token: presented } = ctx.oidc.params ?? {};
  if (grantType !== 'refresh_token') return;
  refreshes.push({ arrived: ctx.req.arrived, presented, outcome, accessToken });
}
provider.on('server_error', (_ctx, error) => console.error(error));

let lost = 'nothing';
const lose = (what) => async () => {
  lost = what;
  return { lost };
};

const serve = provider.callback();
asServer.on('request', (request, response) => {
  // The provider reads the mount point from the difference of the two URLs.
  request.originalUrl = request.url;
  if (!request.url.startsWith(`${options.path}/`)) {
    response.statusCode = 404;
    response.end();
    return;
  }
  request.url = request.url.slice(options.path.length);
  if (request.url === '/token') {
    stats.tokenRequests += 1;
    request.arrived = Date.now();
    if (lost === 'requests') return;
    const answer = response.end.bind(response);
    response.end = (...all) => {
      if (lost !== 'answers') setTimeout(answer, tokenDelay, ...all);
      return response;
    };
  }
  serve(request, response);
});

rsServer.on(
  'request',
  resourceServer({
    origin,
    issuer,
    stats,
    verify: tokenFormat === 'jwt' ? verifyJwt : verifyOpaque,
    control: {
      'GET /control/stats': async () => stats,
      'GET /control/refreshes': async () => refreshes,
      'POST /control/revoke-refresh-tokens': async () => ({
        forgotten: store.forget('RefreshToken', 'AuthorizationCode', 'Grant'),
      }),
      'POST /control/expire-access-tokens': async () => {
        const expired = accepted.size;
        accepted.clear();
        return { expired };
      },
      'POST /control/forget-clients': async () => ({
        forgotten: store.forget('Client', 'RegistrationAccessToken'),
      }),
      'POST /control/lose-token-requests': lose('requests'),
      'POST /control/lose-token-answers': lose('answers'),
      'POST /control/lose-nothing': lose('nothing'),
    },
  }),
);

function clientWithKey(jwk) {
  return {
    client_id: 'by-key',
    application_type: 'native',
    redirect_uris: ['http://127.0.0.1/callback'],
    grant_types: ['authorization_code', 'refresh_token'],
    token_endpoint_auth_method: 'private_key_jwt',
    token_endpoint_auth_signing_alg: 'ES256',
    jwks: { keys: [jwk] },
  };
}

// A policy of the initial access token, and so of the registration's own: it has a say in what is
// registered, and in each change.
function expiringSecret(_ctx, properties) {
  properties.client_secret = randomBytes(32).toString('base64url');
  properties.client_secret_expires_at = Math.floor(Date.now() / 1000) + secretTTL;
}

async function verifyOpaque(value) {
  const token = await provider.AccessToken.find(value);
  const good = token && accepted.has(token.jti) && token.aud === mcp;
  return good ? { subject: token.accountId, scopes: token.scopes, jkt: token.jkt } : undefined;
}

async function verifyJwt(value) {
  const [header, payload, signature, ...rest] = value.split('.');
  if (signature === undefined || rest.length > 0) return undefined;
  const signed = Buffer.from(`${header}.${payload}`);
  const proof = Buffer.from(signature, 'base64url');
  if (!verifySignature('RSA-SHA256', signed, createPublicKey(key), proof)) return undefined;
  const claims = JSON.parse(Buffer.from(payload, 'base64url'));
  const good =
    claims.iss === issuer &&
    claims.aud === mcp &&
    claims.exp > Date.now() / 1000 &&
    accepted.has(claims.jti) &&
    claims.cnf === undefined;
  return good
    ? { subject: claims.sub, scopes: new Set(claims.scope?.split(' ')) }
    : undefined;
}

async function listen(server, port) {
  server.listen(Number(port), '127.0.0.1');
  await once(server, 'listening');
  return `http://127.0.0.1:${server.address().port}`;
}

function check(good, message) {
  if (good) return;
  console.error(message);
  process.exit(2);
}

process.stdin.resume().on('close', () => process.exit(0));
process.on('SIGTERM', () => process.exit(0));
const initialAccessToken =
  secretTTL > 0
    ? await new provider.InitialAccessToken({ policies: ['expiring-secret'] }).save()
    : undefined;
const control = `${origin}/control/`;
console.log(JSON.stringify({ ready: true, issuer, mcp, control, initialAccessToken }));
