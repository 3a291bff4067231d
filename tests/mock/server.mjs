// oauth2-mock-server as the authorization server of a protected MCP server, both on 127.0.0.1: well
// behaved until it is told how to fail.
//
//   node server.mjs
//
// When ready, prints one line that begins with `{"ready":true`, and ends with its stdin. It has no
// registration: clients bring their identifier.
//
// Control, at the URL that the line names:
//   GET  stats                  counts since the start, see `stats`
//   GET  token-requests         what came to the token endpoint, in order
//   GET  failures-left          how many of those that were asked for have not happened yet
//   POST expire-access-tokens   no access token issued so far is accepted any more
//   POST fail/token             what is wrong with the next answers there, one each, see `Fault`;
//   POST fail/authorize         the body is a list of them
//   POST fail/metadata
//   POST fail/revoke
//
// A Fault, each part optional:
//   status     instead of 200
//   headers    added to the answer's
//   set        fields, or parameters, that get another value
//   remove     fields, or parameters, that are left out
//   add        [name, value] pairs of parameters that are added, also a second time
//   body       all of the answer instead: text as it is, anything else as JSON
//   door       the answer comes from something before the server, which sees nothing of the request
//   delay      before the answer, in milliseconds
//   cut        the answer ends in the middle
//   reset      `request`: the connection is reset before anything is done; `answer`: after it

import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';

import { createLocalJWKSet, jwtVerify } from 'jose';
import { Events, OAuth2Issuer, OAuth2Service } from 'oauth2-mock-server';

import { SCOPE, resourceServer } from '../oidc/resource.mjs';

const stats = {
  authorizations: 0,
  codeGrants: 0,
  refreshGrants: 0,
  revocations: 0,
  mcpRequests: 0, // that a good token came with
  unauthorized: 0,
  forbidden: 0,
};
const tokenRequests = [];
const faults = { token: [], authorize: [], metadata: [], revoke: [] };
const accepted = new Set();

const [asServer, rsServer] = [createServer(), createServer()];
const issuer = new OAuth2Issuer();
issuer.url = await listen(asServer);
await issuer.keys.generate('RS256');
const origin = await listen(rsServer);
const mcp = `${origin}/mcp`;
const service = new OAuth2Service(issuer);

// What a server does that isn't a mock.
service.on(Events.BeforeTokenSigning, ({ payload }, { body }) => {
  payload.jti = randomUUID();
  payload.scope = SCOPE;
  payload.aud = body.resource;
});
service.on(Events.BeforeResponse, (response, request) => {
  const { grant_type: grant, refresh_token: presented, client_id: client } = request.body;
  response.body.scope = SCOPE;
  mar(response, request.fault);
  tokenRequests.push({ grant, presented, client, status: response.statusCode });
  const { access_token: token, refresh_token: refresh } = response.body;
  if (response.statusCode !== 200 || token === undefined) return;
  tokenRequests.at(-1).refresh = refresh;
  stats[grant === 'refresh_token' ? 'refreshGrants' : 'codeGrants'] += 1;
  accepted.add(token);
});
service.on(Events.BeforeAuthorizeRedirect, ({ url }, { fault = {} }) => {
  stats.authorizations += 1;
  for (const name of fault.remove ?? []) url.searchParams.delete(name);
  for (const [name, value] of Object.entries(fault.set ?? {})) url.searchParams.set(name, value);
  for (const [name, value] of fault.add ?? []) url.searchParams.append(name, value);
});
service.on(Events.BeforeWellKnownOpenIdConfiguration, (response, { fault }) => mar(response, fault));
service.on(Events.BeforeRevoke, (response, { fault }) => {
  stats.revocations += 1;
  response.statusCode = fault?.status ?? 200;
});

/** What a hook can do about an answer. */
function mar(response, fault = {}) {
  response.statusCode = fault.status ?? response.statusCode;
  Object.assign(response.body, fault.set);
  for (const name of fault.remove ?? []) delete response.body[name];
  if (fault.body instanceof Object) response.body = fault.body;
}

/** What no hook can: done to the bytes and to the connection. */
function harm(request, response) {
  const { fault } = request;
  const end = response.end.bind(response);
  response.end = (content = '') => {
    const bytes = typeof fault.body === 'string' ? fault.body : content;
    if (fault.reset === 'answer') return request.socket.resetAndDestroy();
    for (const [name, value] of Object.entries(fault.headers ?? {})) response.setHeader(name, value);
    response.setHeader('Content-Length', Buffer.byteLength(bytes));
    if (fault.cut) return response.write(bytes.slice(0, bytes.length / 2), () => response.destroy());
    setTimeout(end, fault.delay ?? 0, bytes);
    return response;
  };
}

const PLACES = {
  '/token': 'token',
  '/authorize': 'authorize',
  '/.well-known/openid-configuration': 'metadata',
  '/revoke': 'revoke',
};
asServer.on('request', (request, response) => {
  const place = PLACES[request.url.split('?')[0]];
  request.fault = faults[place]?.shift();
  if (request.fault?.reset === 'request') {
    request.socket.resetAndDestroy();
    return;
  }
  if (request.fault) harm(request, response);
  if (request.fault?.door) {
    response.statusCode = request.fault.status ?? 200;
    response.end();
    return;
  }
  service.requestHandler(request, response);
});

const told = Object.keys(faults).map((place) => [
  `POST /control/fail/${place}`,
  async (request) => {
    const list = JSON.parse(Buffer.concat(await request.toArray()));
    faults[place].push(...list);
    return { left: faults[place].length };
  },
]);
rsServer.on(
  'request',
  resourceServer({
    origin,
    issuer: issuer.url,
    stats,
    verify,
    control: {
      'GET /control/stats': async () => stats,
      'GET /control/token-requests': async () => tokenRequests,
      'POST /control/expire-access-tokens': async () => {
        const expired = accepted.size;
        accepted.clear();
        return { expired };
      },
      'GET /control/failures-left': async () =>
        Object.fromEntries(Object.entries(faults).map(([place, { length }]) => [place, length])),
      ...Object.fromEntries(told),
    },
  }),
);

async function verify(token) {
  if (!accepted.has(token)) return undefined;
  const keys = createLocalJWKSet({ keys: issuer.keys.toJSON() });
  const expected = { issuer: issuer.url, audience: mcp };
  const { payload } = await jwtVerify(token, keys, expected).catch(() => ({}));
  return payload && { subject: payload.sub, scopes: new Set(payload.scope?.split(' ')) };
}

async function listen(server) {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `http://127.0.0.1:${server.address().port}`;
}

process.stdin.resume().on('close', () => process.exit(0));
process.on('SIGTERM', () => process.exit(0));
console.log(
  JSON.stringify({ ready: true, issuer: issuer.url, mcp, control: `${origin}/control/` }),
);
