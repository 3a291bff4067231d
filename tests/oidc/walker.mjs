// A person with a browser: opens a URL, logs in, agrees, and ends at the program's callback, or at the
// end of what a code for another device began.
//
//   node walker.mjs URL
//
//   WALKER_DENY=1       refuses to agree
//   WALKER_LOG=FILE     appends a line for each step
//   WALKER_LOGIN=NAME   logs in as NAME instead of `person`
//
// Ends with 0 if the callback was reached and answered well.

import { appendFileSync } from 'node:fs';

const STEPS = 30;
const STEP_TIMEOUT_MS = 15_000;
const { WALKER_DENY, WALKER_LOG, WALKER_LOGIN = 'person' } = process.env;

function log(line) {
  if (WALKER_LOG) appendFileSync(WALKER_LOG, `${line}\n`);
}

/** Cookies by RFC 6265, as far as loopback servers go: by host and path, not by port. */
class Jar {
  #cookies = new Map();

  keep(url, response) {
    for (const line of response.headers.getSetCookie()) {
      const [pair, ...attributes] = line.split(';').map((part) => part.trim());
      const [, name, value] = /^([^=]*)=(.*)$/.exec(pair) ?? [];
      if (name === undefined) continue;
      const found = new Map(
        attributes.map((attribute) => {
          const [, key, text] = /^([^=]*)=?(.*)$/.exec(attribute);
          return [key.toLowerCase(), text];
        }),
      );
      const path = found.get('path') || '/';
      const id = `${url.hostname} ${path} ${name}`;
      const gone =
        Number(found.get('max-age')) <= 0 || Date.parse(found.get('expires')) <= Date.now();
      if (gone) this.#cookies.delete(id);
      else this.#cookies.set(id, { host: url.hostname, path, name, value });
    }
  }

  header(url) {
    const here = ({ host, path }) =>
      host === url.hostname &&
      (url.pathname === path || url.pathname.startsWith(path.endsWith('/') ? path : `${path}/`));
    const sent = [...this.#cookies.values()].filter(here);
    return sent.map(({ name, value }) => `${name}=${value}`).join('; ');
  }
}

const ENTITIES = { amp: '&', lt: '<', gt: '>', quot: '"', '#39': "'" };
const text = (html) => html.replace(/&(amp|lt|gt|quot|#39);/g, (_, name) => ENTITIES[name]);

function attributes(tag) {
  const found = [...tag.matchAll(/([\w-]+)\s*=\s*"([^"]*)"/g)];
  return Object.fromEntries(found.map(([, name, value]) => [name.toLowerCase(), text(value)]));
}

/** The first form of a page with its fields filled in, or undefined. */
function form(html) {
  const found = /(<form\b[^>]*>)([\s\S]*?)<\/form>/i.exec(html);
  if (!found) return undefined;
  const { action = '', method = 'get' } = attributes(found[1]);
  const fields = new URLSearchParams();
  for (const [tag] of found[2].matchAll(/<input\b[^>]*>/gi)) {
    const { name, type = 'text', value = '' } = attributes(tag);
    if (!name) continue;
    const filled = { text: WALKER_LOGIN, password: 'secret' }[type] ?? value;
    fields.append(name, filled);
  }
  return { action, method: method.toUpperCase(), fields };
}

/** Where the page's way out leads, or undefined. */
function cancel(html) {
  const links = [...html.matchAll(/(<a\b[^>]*>)([\s\S]*?)<\/a>/gi)];
  const found = links.find(([, , label]) => /cancel/i.test(label));
  return found && attributes(found[1]).href;
}

/** What a person does on this page: the next request, or undefined where there is nothing to do. */
function act(url, html) {
  const filled = form(html);
  if (!filled) return undefined;
  const consent = filled.fields.get('prompt') === 'consent';
  if (consent && WALKER_DENY === '1') {
    const way = cancel(html);
    if (!way) throw new Error(`no way to refuse at ${url}`);
    return { url: new URL(way, url), method: 'GET', refused: true };
  }
  const target = new URL(filled.action, url);
  if (filled.method === 'POST') return { url: target, method: 'POST', body: filled.fields };
  target.search = filled.fields;
  return { url: target, method: 'GET' };
}

async function walk(start) {
  const jar = new Jar();
  let next = { url: new URL(start), method: 'GET' };
  let [arrived, refused] = [false, false];
  for (let step = 0; step < STEPS; step += 1) {
    const { url, method, body } = next;
    const cookie = jar.header(url);
    const response = await fetch(url, {
      method,
      body,
      headers: { accept: 'text/html', ...(cookie && { cookie }) },
      redirect: 'manual',
      signal: AbortSignal.timeout(STEP_TIMEOUT_MS),
    });
    jar.keep(url, response);
    const location = response.headers.get('location');
    const html = await response.text();
    log(`${method} ${url} ${response.status}${location ? ` -> ${location}` : ''}`);
    // An authorization response (RFC 6749, 4.1.2): the program has it now, and may yet redirect.
    arrived ||= url.searchParams.has('code') || url.searchParams.has('error');

    if (location && response.status >= 300 && response.status < 400) {
      next = { url: new URL(location, url), method: 'GET' };
      continue;
    }
    if (response.status >= 400) throw new Error(`${response.status} at ${url}`);
    if (arrived || refused) return;
    next = act(url, html);
    refused ||= next?.refused === true;
    // A code that was entered comes back to nobody: the page says so (RFC 8628, 3.3).
    if (!next && /success/i.test(html)) return;
    if (!next) throw new Error(`nothing to do at ${url}`);
  }
  throw new Error(`no callback after ${STEPS} steps`);
}

try {
  const [, , start] = process.argv;
  if (!start) throw new Error('usage: walker.mjs URL');
  await walk(start);
  process.exit(0);
} catch (error) {
  log(`failed: ${error.message}`);
  console.error(`walker: ${error.message}`);
  process.exit(1);
}
