// The protected MCP server: stateless, JSON replies, bearer tokens (RFC 6750, RFC 9728).

export const SCOPE = 'mcp:tools';

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
 * @param verify `async (token) => { subject, client, scopes } | undefined`
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

    const scheme = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '');
    const person = scheme ? await verify(scheme[1]) : undefined;
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
