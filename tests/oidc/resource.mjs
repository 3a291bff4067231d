// The protected MCP server: stateless, JSON replies, bearer tokens (RFC 6750, RFC 9728) or tokens that
// are bound to a key (RFC 9449), whose proofs must have a nonce.

import { createHash, createPublicKey, verify as verifySignature } from 'node:crypto';

export const SCOPE = 'mcp:tools';

/** What proofs must have. */
const NONCE = 'a-nonce-of-the-resource';
const METADATA = '/.well-known/oauth-protected-resource/mcp';
const BODY_LIMIT = 1 << 20;

const TOOLS = [
  {
    name: 'whoami',
    description: 'Says who is logged in',
    inputSchema: { type: 'object', properties: {} },
  },
];

/**
 * @param verify `async (token) => { subject, client, scopes, jkt } | undefined`
 * @param control `{ 'METHOD /path': async (request) => reply }`, the test's way in
 */
export function resourceServer({ origin, issuer, verify, control, stats }) {
  const mcp = `${origin}/mcp`;

  async function handle(request, response) {
    const { pathname } = new URL(request.url, origin);
    const lever = control[`${request.method} ${pathname}`];
    if (lever) return send(response, 200, await lever(request));
    if (pathname === METADATA && request.method === 'GET') {
      return send(response, 200, {
        resource: mcp,
        authorization_servers: [issuer],
        scopes_supported: [SCOPE],
        bearer_methods_supported: ['header'],
      });
    }
    if (pathname !== '/mcp') return send(response, 404);

    const scheme = /^(Bearer|DPoP) +(\S+)$/i.exec(request.headers.authorization ?? '');
    const known = scheme ? await verify(scheme[2]) : undefined;
    const bound = scheme?.[1].toLowerCase() === 'dpop';
    const proof = bound && known?.jkt && readProof(request, scheme[2], known.jkt);
    if (proof && proof.nonce !== NONCE) {
      stats.withoutNonce += 1;
      response.setHeader('DPoP-Nonce', NONCE);
      response.setHeader('WWW-Authenticate', 'DPoP error="use_dpop_nonce"');
      return send(response, 401);
    }
    const person = Boolean(known?.jkt) === Boolean(proof) ? known : undefined;
    if (!person) {
      stats.unauthorized += 1;
      return challenge(response, 401, scheme ? { error: 'invalid_token' } : {});
    }
    if (!person.scopes.has(SCOPE)) {
      stats.forbidden += 1;
      return challenge(response, 403, { error: 'insufficient_scope', scope: SCOPE });
    }
    if (request.method !== 'POST') return send(response, 405);

    const message = await json(request);
    if (message === undefined) return send(response, 400);
    stats.mcpRequests += 1;
    if (message.id === undefined) return send(response, 202);
    return send(response, 200, { jsonrpc: '2.0', id: message.id, ...answer(message, person) });
  }

  /** The claims of a proof that fits the request, the token and the key (RFC 9449 §4.3). */
  function readProof(request, token, jkt) {
    const [header, payload, signature] = (request.headers.dpop ?? '').split('.');
    try {
      const decoded = (part) => JSON.parse(Buffer.from(part, 'base64url'));
      const [{ typ, alg, jwk }, claims] = [decoded(header), decoded(payload)];
      const { crv, kty, x, y } = jwk;
      const hash = (text) => createHash('sha256').update(text).digest('base64url');
      const key = { key: createPublicKey({ key: jwk, format: 'jwk' }), dsaEncoding: 'ieee-p1363' };
      const signed = Buffer.from(`${header}.${payload}`);
      const good =
        typ === 'dpop+jwt' &&
        alg === 'ES256' &&
        verifySignature('sha256', signed, key, Buffer.from(signature, 'base64url')) &&
        hash(JSON.stringify({ crv, kty, x, y })) === jkt &&
        claims.htm === request.method &&
        claims.htu === mcp &&
        claims.ath === hash(token) &&
        Math.abs(claims.iat - Date.now() / 1000) < 60;
      return good ? claims : undefined;
    } catch {
      return undefined;
    }
  }

  function challenge(response, status, parameters) {
    const all = Object.entries({ ...parameters, resource_metadata: origin + METADATA });
    const text = all.map(([name, value]) => `${name}="${value}"`).join(', ');
    response.setHeader('WWW-Authenticate', `Bearer ${text}`);
    send(response, status);
  }

  return (request, response) => {
    handle(request, response).catch((error) => {
      console.error(error);
      if (response.headersSent) response.destroy();
      else send(response, 500);
    });
  };
}

function answer({ method, params }, person) {
  switch (method) {
    case 'initialize':
      return {
        result: {
          protocolVersion: params?.protocolVersion ?? '2025-11-25',
          capabilities: { tools: {} },
          serverInfo: { name: 'protected', version: '1.0.0' },
        },
      };
    case 'ping':
      return { result: {} };
    case 'tools/list':
      return { result: { tools: TOOLS } };
    case 'tools/call':
      return params?.name === 'whoami'
        ? { result: { content: [{ type: 'text', text: person.subject }] } }
        : { error: { code: -32602, message: 'Unknown tool' } };
    default:
      return { error: { code: -32601, message: 'Method not found' } };
  }
}

function send(response, status, body) {
  response.statusCode = status;
  if (body === undefined) return response.end();
  response.setHeader('Content-Type', 'application/json');
  return response.end(JSON.stringify(body));
}

/** The body if it is a JSON object within bounds, else undefined. */
async function json(request) {
  let text = '';
  for await (const chunk of request.setEncoding('utf8')) {
    text += chunk;
    if (text.length > BODY_LIMIT) return undefined;
  }
  try {
    const value = JSON.parse(text);
    return value instanceof Object ? value : undefined;
  } catch {
    return undefined;
  }
}
