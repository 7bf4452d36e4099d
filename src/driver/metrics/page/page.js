'use strict';
// The flow, live: asks for status.json every two seconds and draws what has changed.
const EVERY = 2000, MANY = 30, GROUP = 6, KEPT = 60;
const SVG = 'http://www.w3.org/2000/svg';
const LEVELS = ['note', 'warning', 'unhealthy'];
const at = (id) => document.getElementById(id);
let now = null, views = new Map(), chosen = null, order = 'worst', shown = null, said = '';
const opened = new Set(), boxes = new Map(), rows = new Map();

// ---- elements: all text is set as text, never as markup

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === 'click') element.addEventListener('click', value);
    else if (value === null || value === false) element.removeAttribute(name);
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}
const html = (tag, attributes = {}, ...children) =>
  fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS(SVG, tag), attributes, children);
const link = (name, text = name) =>
  html('button', { class: 'link', type: 'button', click: () => choose(name) }, text);

// ---- figures

const exact = (number) => Math.round(number).toLocaleString('en-US');
function short(number) {
  if (number < 10 && number % 1) return number.toFixed(1);
  let unit = '';
  for (const next of 'kMGTPE') {
    if (number < 999.5) break;
    number /= 1000;
    unit = next;
  }
  return (unit ? number.toPrecision(3) : number.toFixed(0)) + unit;
}
function size(bytes) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  for (; bytes >= 1024 && unit < 4; unit++) bytes /= 1024;
  return (unit ? bytes.toFixed(1) : bytes) + ' ' + units[unit];
}
function span(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return s + ' s';
  if (s < 3600) return Math.floor(s / 60) + ' min';
  if (s < 86400) return Math.floor(s / 3600) + ' h ' + Math.floor(s / 60) % 60 + ' min';
  return Math.floor(s / 86400) + ' d ' + Math.floor(s / 3600) % 24 + ' h';
}
const two = (number) => String(number).padStart(2, '0');
function time(seconds, short) {
  const date = new Date(seconds * 1000);
  const clock = two(date.getHours()) + ':' + two(date.getMinutes());
  const day = date.toDateString() === new Date().toDateString() ? '' :
    date.getFullYear() + '-' + two(date.getMonth() + 1) + '-' + two(date.getDate()) + ' ';
  return day + clock + (short ? '' : ':' + two(date.getSeconds()));
}
const cut = (text, most) => text.length > most ? text.slice(0, Math.max(1, most - 1)) + '…' : text;
const sum = (numbers) => numbers.reduce((all, one) => all + one, 0);

// ---- the nodes, with what has changed since the last look

const dropped = (node) => sum(Object.values(node.dropped));
const kernel = (node) => node.input ? node.input.kernel_drops : 0;
const stream = (node) => node.printed === undefined ? node.lines_out : node.printed;
const COUNTS = {
  in: (node) => node.lines_in, out: (node) => node.lines_out, stream,
  taken: (node) => node.lines_in - node.not_selected, lost: (node) => dropped(node) + kernel(node),
};
function take(status) {
  const again = now && status.started === now.started && status.uptime >= now.uptime;
  const seconds = again ? status.uptime - now.uptime : 0;
  const before = again ? views : new Map(), seen = new Map();
  views = new Map();
  for (const node of status.nodes) {
    const nth = seen.get(node.name) || 0;
    seen.set(node.name, nth + 1);
    const key = nth || node.retired ? node.name + ' (removed' + (nth ? ' ' + nth : '') + ')' :
      node.name;
    const old = before.get(key), rate = {};
    for (const [what, of] of Object.entries(COUNTS)) {
      const grown = old ? of(node) - of(old.node) : 0;
      rate[what] = seconds > 0 && grown > 0 ? grown / seconds : old && !seconds ? old.rate[what] : 0;
    }
    const history = old ? old.history : [];
    if (seconds) history.push([rate.in, rate.lost]);
    if (history.length > KEPT) history.shift();
    const troubles = node.troubles || [];
    const level = Math.max(-1, ...troubles.map((trouble) => LEVELS.indexOf(trouble.level)));
    const losing = rate.lost > 0 || (node.losses || []).some((loss) => !loss.ended);
    views.set(key, { key, node, rate, history, troubles, level, losing });
  }
  now = status;
}
function share(view) {
  const { queue, spool } = view.node;
  if (spool && spool.max_size) return spool.bytes / spool.max_size;
  return queue && queue.limit ? queue.used / queue.limit : null;
}
const worst = (view) => [view.level, view.rate.lost, share(view) || 0];
const ORDERS = {
  name: (a, b) => a.key < b.key ? -1 : 1,
  worst: (a, b) => {
    const [one, other] = [worst(a), worst(b)];
    const differs = one.findIndex((value, nth) => value !== other[nth]);
    return differs < 0 ? 0 : other[differs] - one[differs];
  },
};
function matches(view) {
  const wanted = at('search').value.trim().toLowerCase();
  return (!wanted || view.key.toLowerCase().includes(wanted)) &&
    (!at('only').checked || view.level > 0 || view.losing);
}

// ---- the picture

// The nodes that match, and all that feeds them or is fed by them.
function wanted() {
  const all = [...views.values()].filter((view) => !view.node.retired || view.level > 0);
  const found = all.filter(matches);
  if (found.length === all.length) return all;
  const keep = new Set(found.map((view) => view.key)), up = [...found], down = [...found];
  while (up.length) {
    for (const name of up.pop().node.from) {
      if (views.has(name) && !keep.has(name)) { keep.add(name); up.push(views.get(name)); }
    }
  }
  while (down.length) {
    const from = down.pop().key;
    for (const view of all) {
      if (view.node.from.includes(from) && !keep.has(view.key)) {
        keep.add(view.key);
        down.push(view);
      }
    }
  }
  return all.filter((view) => keep.has(view.key));
}
function depths(list) {
  const known = new Map();
  const depth = (key) => {
    if (!known.has(key)) {
      known.set(key, 0);
      const from = views.has(key) ? views.get(key).node.from : [];
      known.set(key, from.length ? 1 + Math.max(...from.map(depth)) : 0);
    }
    return known.get(key);
  };
  list.forEach((view) => depth(view.key));
  return known;
}
// Boxes: a node each, or many alike nodes without trouble that read from the same boxes.
function gather(list, depth) {
  const groups = list.length > MANY && !at('each').checked;
  const box = new Map(), result = [];
  const sorted = [...list].sort((a, b) => depth.get(a.key) - depth.get(b.key));
  for (let level = 0; sorted.length; level++) {
    const alike = new Map();
    while (sorted.length && depth.get(sorted[0].key) === level) {
      const view = sorted.shift();
      const from = [...new Set(view.node.from.map((name) => box.get(name)).filter(Boolean))];
      const alone = !groups || view.level > 0 || view.losing || view.key === chosen ||
        at('search').value && matches(view);
      const id = alone ? view.key : view.node.kind + ' of ' + from.map((one) => one.id).join(', ');
      if (!alike.has(id)) alike.set(id, { id, from, members: [] });
      alike.get(id).members.push(view);
    }
    for (const one of alike.values()) {
      const apart = one.members.length < GROUP || opened.has(one.id);
      const parts = apart ? one.members.map((view) => ({ id: view.key, members: [view] })) : [one];
      for (const part of parts) {
        const all = { ...part, from: one.from, level, kind: part.members[0].node.kind };
        part.members.forEach((view) => box.set(view.key, all));
        result.push(all);
      }
    }
  }
  return result;
}
const total = (box, what) => sum(box.members.map((view) => view.rate[what]));
function place(list, width) {
  const last = Math.max(0, ...list.map((box) => box.level));
  const columns = Array.from({ length: last + 1 }, () => []);
  for (const box of list) {
    box.column = box.kind === 'output' ? last : box.level;
    columns[box.column].push(box);
  }
  const least = width < 700 ? 26 : 70;
  const wide = Math.min(250, Math.max(98, (width - 16 - last * least) / (last + 1)));
  const gap = Math.max(least, Math.min(220, (width - 16 - wide * (last + 1)) / (last || 1)));
  const most = Math.max(...columns.map((column) => column.length));
  const tall = most > 24 ? 26 : wide < 150 ? 64 : 50, step = tall + (most > 24 ? 5 : 12);
  for (const column of columns) {
    const mean = (box) => box.from.length ?
      sum(box.from.map((one) => one.y)) / box.from.length : 0;
    if (column !== columns[0]) {
      column.sort((a, b) => mean(a) - mean(b));
    }
    // A tall picture begins at the top, where it is looked at first.
    const free = most > 24 ? 0 : (most - column.length) * step / (column.length + 1);
    column.forEach((box, nth) => Object.assign(box, {
      x: 8 + box.column * (wide + gap), y: 8 + free * (nth + 1) + nth * step, wide, tall, nth,
    }));
  }
  return { columns, width: 16 + wide * (last + 1) + gap * last, height: 16 + most * step };
}
function words(box) {
  const [view] = box.members, many = box.members.length;
  const inputs = box.kind === 'input';
  const name = many > 1 ? many + ' ' + box.kind + 's' : view.key;
  const rate = short(total(box, inputs ? 'in' : 'taken')) + '/s';
  const lost = many > 1 ? 0 : dropped(view.node) + kernel(view.node);
  let loss = '';
  if (total(box, 'lost') > 0) loss = '✕ ' + short(total(box, 'lost')) + '/s';
  else if (many === 1 && view.losing) loss = '✕ ' + short(lost);
  const fills = box.members.map(share).filter((one) => one !== null);
  const full = fills.length ? Math.max(...fills) : null;
  const readers = many === 1 && view.node.spool ? view.node.spool.readers : [];
  const lag = Math.max(0, ...readers.map((reader) => reader.lag_lines));
  const note = lag ? 'lag ' + short(lag) : full !== null ? Math.round(full * 100) + ' %' : '';
  return { name, rate, loss, full, note, lost };
}
function label(box, { name, rate, loss, full, lost }) {
  const [view] = box.members, parts = [box.kind + ' ' + name, rate.replace('/s', ' lines a second')];
  if (loss) parts.push('losing lines');
  else if (lost) parts.push(exact(lost) + ' lost earlier');
  if (full !== null) parts.push('filled to ' + Math.round(full * 100) + ' percent');
  if (box.members.length === 1) parts.push(...view.troubles.map((trouble) => trouble.what));
  return parts.join(', ');
}
function drawBox(box) {
  let group = boxes.get(box.id);
  if (!group) {
    group = svg('g', { tabindex: 0, role: 'button' });
    group.addEventListener('click', () => press(group.box));
    group.addEventListener('keydown', (event) => steer(event, group.box));
    boxes.set(box.id, group);
    at('boxes').append(group);
  }
  group.box = box;
  const said = words(box), { wide, tall } = box, low = tall < 40;
  const level = Math.max(...box.members.map((view) => view.level));
  const isChosen = box.members.some((view) => view.key === chosen);
  fill(group, {
    class: 'box' + (level > 0 ? ' trouble' : '') + (level > 1 ? ' unhealthy' : '') +
      (isChosen ? ' chosen' : ''),
    transform: 'translate(' + box.x + ' ' + box.y + ')', 'aria-label': label(box, said),
    'aria-pressed': String(isChosen),
  }, []);
  const round = box.kind === 'filter' ? 10 : box.kind === 'spool' ? 0 : 3;
  const parts = [
    svg('title', {}, label(box, said)),
    svg('rect', { class: 'body', width: wide, height: tall, rx: round }),
  ];
  if (box.kind === 'spool') {
    parts.push(svg('path', { class: 'way', d: `M5 0V${tall}M${wide - 5} 0V${tall}` }));
  }
  if (box.members.length > 1) {
    parts.unshift(svg('rect', { class: 'body', x: 4, y: 4, width: wide, height: tall, rx: round }));
  }
  const mark = level > 0 ? '! ' : '';
  const room = Math.floor((wide - 16) / 7.2);
  // A small box has no room for both its name and its rate.
  const right = said.loss || (low ? wide < 150 ? '' : said.rate : said.note);
  const text = (x, y, kind, what, end) =>
    svg('text', { x, y, class: kind, 'text-anchor': end ? 'end' : 'start' }, what);
  if (low) {
    const name = cut(mark + said.name, room - right.length);
    parts.push(text(9, 17, 'name', name));
    parts.push(text(wide - 8, 17, said.loss ? 'lost-text' : 'dim', right, true));
  } else {
    parts.push(text(9, 17, 'name', cut(mark + said.name, room)));
    const lower = tall > 60;
    parts.push(text(9, 34, '', said.rate));
    parts.push(text(lower ? 9 : wide - 8, lower ? 49 : 34, said.loss ? 'lost-text' : 'dim', right,
      !lower));
  }
  const bottom = low ? tall - 4 : tall - 9, high = low ? 3 : 5;
  if (said.full !== null) {
    parts.push(svg('rect', { class: 'way', x: 9, y: bottom, width: wide - 18, height: high }));
    const filled = Math.min(1, said.full) * (wide - 18);
    parts.push(svg('rect', { class: 'fill', x: 9, y: bottom, width: filled, height: high }));
  }
  if (said.loss) {
    parts.push(svg('rect', { class: 'lost', x: 0, y: tall, width: wide, height: low ? 4 : 8 }));
  }
  group.replaceChildren(...parts);
}
function drawBands(list) {
  const most = Math.max(1, ...list.map((box) => total(box, 'taken')));
  const parts = [];
  const outs = new Map();
  list.forEach((box) => box.from.forEach((from) => outs.set(from, (outs.get(from) || 0) + 1)));
  const used = new Map();
  for (const box of [...list].sort((a, b) => a.y - b.y)) {
    const whole = sum(box.from.map((from) => total(from, 'stream'))) || 1;
    box.from.forEach((from, nth) => {
      const part = box.from.length > 1 ? total(from, 'stream') / whole : 1;
      const rate = total(box, 'taken') * part;
      const wide = rate > 0 ? 1.5 + 11 * Math.sqrt(rate / most) : 1;
      const place = (used.get(from) || 0) + 1;
      used.set(from, place);
      const x = from.x + from.wide, y = from.y + from.tall * place / (outs.get(from) + 1);
      const toY = box.y + box.tall * (nth + 1) / (box.from.length + 1);
      const half = (box.x - x) / 2;
      const d = `M${x} ${y}C${x + half} ${y} ${box.x - half} ${toY} ${box.x} ${toY}`;
      const dash = rate > 0 ? null : '2 4';
      parts.push(svg('path', { class: 'band', d, 'stroke-width': wide, 'stroke-dasharray': dash }));
    });
  }
  at('bands').replaceChildren(...parts);
}
function drawFlow() {
  const list = wanted();
  const picture = gather(list, depths(list));
  const drawn = place(picture, at('picture').clientWidth);
  shown = drawn.columns;
  fill(at('flow'), { width: drawn.width, height: drawn.height + 8 }, []);
  drawBands(picture);
  const kept = new Set(picture.map((box) => box.id));
  for (const [id, group] of boxes) {
    if (!kept.has(id)) { group.remove(); boxes.delete(id); }
  }
  picture.forEach(drawBox);
}
function press(box) {
  if (box.members.length === 1) return choose(box.members[0].key);
  opened.add(box.id);
  at('fold').hidden = false;
  draw();
}
function fold() {
  opened.clear();
  at('fold').hidden = true;
  draw();
}
function steer(event, box) {
  const column = shown[box.column];
  const to = {
    ArrowUp: column[box.nth - 1], ArrowDown: column[box.nth + 1], ArrowLeft: box.from[0],
    ArrowRight: shown.flat().find((other) => other.from.includes(box)),
  }[event.key];
  if (event.key === 'Enter' || event.key === ' ') press(box);
  else if (to) boxes.get(to.id).focus();
  else if (!event.key.startsWith('Arrow')) return;
  event.preventDefault();
}

// ---- what is wrong

function drawTroubles() {
  const list = [...views.values()].flatMap((view) =>
    view.troubles.map((trouble) => ({ view, trouble, level: LEVELS.indexOf(trouble.level) })));
  list.sort((a, b) => b.level - a.level);
  const told = new Set();
  const items = list.slice(0, 100).map(({ view, trouble }) => {
    // Several troubles of a node may have one remedy.
    const remedy = view.key + ': ' + trouble.remedy, first = trouble.remedy && !told.has(remedy);
    told.add(remedy);
    return html('li', { class: trouble.level }, html('b', {}, trouble.level), ' ', link(view.key),
      ': ' + trouble.what, first ? html('div', {}, '→ ' + trouble.remedy) : '');
  });
  if (list.length > 100) items.push(html('li', {}, exact(list.length - 100) + ' more'));
  if (!items.length) items.push(html('li', {}, 'None.'));
  if (!at('troubles').contains(document.activeElement)) at('troubles').replaceChildren(...items);
  const bad = list.filter((one) => one.level > 0).length;
  const news = bad ? bad + (bad === 1 ? ' trouble' : ' troubles') : 'no trouble';
  if (news !== said) at('news').textContent = said = news;
  document.title = (bad ? '(' + bad + ') ' : '') + now.host + ' – logweir';
}
// What nodes had lost that reloads have removed.
const gone = () => now.gone ? sum(Object.values(now.gone.dropped)) + now.gone.kernel_drops : 0;
function drawFigures() {
  const all = [...views.values()], inputs = all.filter((view) => view.node.kind === 'input');
  const losses = all.flatMap((view) => (view.node.losses || []).map((loss) => ({ view, loss })));
  losses.sort((a, b) => b.loss.last - a.loss.last);
  const parts = ['version ' + now.version, 'up ' + span(now.uptime),
    'in ' + short(sum(inputs.map((view) => view.rate.in))) + ' lines/s',
    'lost ' + exact(sum(all.map((view) => dropped(view.node) + kernel(view.node))) + gone()) +
      ', ' + short(sum(all.map((view) => view.rate.lost))) + '/s',
    'queues ' + Math.round(100 * now.queues_bytes / now.memory) + ' % of memory'];
  if (losses.length) {
    const { view, loss } = losses[0];
    parts.push('last loss ' + view.key + ': ' + lossText(loss));
  }
  at('host').textContent = now.host;
  at('figures').textContent = parts.join(' · ');
}
const lossText = ({ count, unit, cause, began, last }) => {
  const from = time(now.started + began), to = time(now.started + last);
  return exact(count) + ' ' + unit + ' (' + cause + ') ' +
    (from === to ? 'at ' + from : 'from ' + from + ' to ' + to);
};

// ---- the table

const COLUMNS = [
  ['name', (view) => view.key, (view) => view.key],
  ['in', (view) => view.node.lines_in], ['out', (view) => view.node.lines_out],
  ['not selected', (view) => view.node.not_selected], ['dropped', (view) => dropped(view.node)],
  ['queued', (view) => view.node.queued], ['kernel drops', (view) => kernel(view.node)],
  ['in/s', (view) => view.rate.in, (view) => short(view.rate.in)],
  ['lost/s', (view) => view.rate.lost, (view) => short(view.rate.lost)],
  ['full', (view) => share(view) || 0,
    (view) => share(view) === null ? '' : Math.round(100 * share(view)) + ' %'],
  ['worst', null, (view) => view.troubles.length ? view.troubles[0].what : ''],
];
function head() {
  const cells = COLUMNS.map(([name]) => html('th', { scope: 'col' },
    html('button', { class: 'link', click: () => { order = name; draw(); } }, name)));
  document.querySelector('#nodes thead tr').replaceChildren(...cells);
}
function drawTable() {
  const column = COLUMNS.find(([name]) => name === order);
  const compare = ORDERS[order] || ((a, b) => column[1](b) - column[1](a));
  const list = [...views.values()].filter(matches).sort(compare);
  document.querySelectorAll('#nodes th').forEach((cell, nth) => fill(cell,
    { 'aria-sort': COLUMNS[nth][0] !== order ? null :
      order === 'name' ? 'ascending' : 'descending' }, []));
  const body = document.querySelector('#nodes tbody'), kept = new Set();
  list.forEach((view, nth) => {
    let row = rows.get(view.key);
    if (!row) {
      row = html('tr', {}, ...COLUMNS.map(() => html('td')));
      row.cells[0].append(link(view.key));
      rows.set(view.key, row);
    }
    kept.add(view.key);
    row.className = view.key === chosen ? 'chosen' : '';
    COLUMNS.slice(1).forEach(([name, value, text], at) => {
      const cell = row.cells[at + 1], shown = text ? text(view) : exact(value(view));
      if (cell.textContent !== shown) cell.textContent = shown;
      const lost = ['dropped', 'kernel drops', 'lost/s'].includes(name) && value(view) > 0;
      cell.className = lost ? 'lost' : '';
    });
    if (body.children[nth] !== row) body.insertBefore(row, body.children[nth] || null);
  });
  for (const [key, row] of rows) {
    if (!kept.has(key)) { row.remove(); rows.delete(key); }
  }
}

// ---- one node

function choose(key) {
  location.hash = key === null ? '' : '#' + encodeURIComponent(key);
  show(key);
  if (key !== null && views.has(key)) {
    at('detail').focus({ preventScroll: true });
    at('detail').scrollIntoView({ block: 'nearest' });
  }
}
function show(key) {
  if (chosen !== key) at('day').hidden = true;
  chosen = key;
  draw();
  askSeries();
}
function ledger({ node, rate }) {
  const row = (name, lines, more = '', kind = '') => html('tr', {}, html('th', { scope: 'row' },
    name), html('td', { class: kind }, exact(lines)), html('td', {}, more));
  const list = [row('in', node.lines_in, short(rate.in) + '/s, ' + size(node.bytes_in)),
    row('out', node.lines_out, short(rate.out) + '/s, ' + size(node.bytes_out)),
    row('not selected', node.not_selected)];
  for (const [reason, lines] of Object.entries(node.dropped)) {
    list.push(row('dropped: ' + reason, lines, '', 'lost'));
  }
  list.push(row('queued', node.queued));
  if (node.printed !== undefined) list.push(row('printed', node.printed, short(rate.stream) + '/s'));
  if (kernel(node)) list.push(row('kernel dropped before', kernel(node), '', 'lost'));
  return html('table', {}, ...list);
}
function facts({ node, troubles, history }) {
  const list = [];
  const add = (name, ...what) => list.push(html('dt', {}, name), html('dd', {}, ...what));
  const names = (all) => all.flatMap((name, nth) => nth ? [', ', link(name)] : [link(name)]);
  troubles.forEach((trouble) => add(trouble.level, html('b', {}, trouble.what),
    trouble.remedy ? html('div', {}, '→ ' + trouble.remedy) : ''));
  (node.losses || []).filter((loss) => loss.ended).forEach((loss) => add('lost', lossText(loss)));
  if (node.from.length) add('from', ...names(node.from));
  const fed = [...views.values()].filter((other) => other.node.from.includes(node.name));
  if (fed.length) add('feeds', ...names(fed.map((view) => view.key)));
  if (node.queue) add('queue', size(node.queue.used) + ' of ' + size(node.queue.limit));
  for (const child of node.children || []) {
    add('process', [child.state, child.pid ? 'pid ' + child.pid : '',
      child.restarts ? child.restarts + ' restarts' : '',
      child.last_end ? 'the last one ' + child.last_end : ''].filter(Boolean).join(', '));
  }
  for (const { at, text } of node.stderr || []) add('stderr ' + time(now.started + at), text);
  for (const lane of node.lanes || []) {
    add('peer', lane.peer || lane.error || 'not connected yet',
      lane.peer ? '' : ' ' + (lane.down_seconds ? 'for ' + span(lane.down_seconds) : ''));
  }
  if (node.spool) {
    const { spool } = node;
    add('spool', exact(spool.next - spool.oldest) + ' lines, ' + size(spool.bytes) + ' of ' +
      size(spool.max_size) + ', ' + exact(spool.kept) + ' of them delivered already');
    for (const reader of spool.readers) {
      add('reader', reader.name + ' lags ' + exact(reader.lag_lines) + ' lines, ' +
        size(reader.lag_bytes) + ', ' + span(reader.lag_seconds));
    }
  }
  const counts = Object.entries(node.input || {}).filter(([name, count]) => count > 0);
  counts.forEach(([name, count]) => add(name.replaceAll('_', ' '), exact(count)));
  if (history.length > 1) add('last minutes', spark(history));
  return html('dl', {}, ...list);
}
function spark(history) {
  const most = Math.max(1, ...history.map(([rate]) => rate));
  const points = history.map(([rate], nth) => nth * 4 + ',' + (30 - 28 * rate / most).toFixed(1));
  return svg('svg', { width: KEPT * 4, height: 32, role: 'img', 'aria-label':
    'lines a second, at most ' + short(most) },
    svg('polyline', { points: points.join(' '), fill: 'none', stroke: 'currentColor' }));
}
function drawDetail() {
  const view = views.get(chosen);
  at('detail').hidden = chosen === null;
  if (chosen === null) return;
  at('detail-title').textContent = view ? view.node.kind + ' ' + view.key : chosen;
  if (at('facts').contains(document.activeElement)) return;
  at('facts').replaceChildren(...view ? [ledger(view), facts(view)] : ['There is no such node.']);
}

// ---- a node's day by the minute, or its last hour by the second

let series = null;
async function askSeries() {
  const key = chosen, view = views.get(key), fine = at('fine').checked;
  if (!view || view.node.retired) return;
  try {
    const what = fine ? 'seconds' : 'minutes';
    const answer = await fetch(what + '.json?node=' + encodeURIComponent(key));
    if (!answer.ok) return;
    const told = await answer.json();
    const node = told.nodes.find((one) => one.name === key);
    if (key !== chosen || fine !== at('fine').checked || !node) return;
    const step = told.window, count = fine ? 3600 : 1440;
    const from = (Math.floor(told.now / step) - count + 1) * step;
    if (!series || series.step !== step) at('minute').value = at('minute').max = count - 1;
    series = { from, step, count, rows: new Map() };
    for (const row of node.rows) {
      if (fine && row.dropped) row.dropped = { 'any reason': row.dropped };
      const nth = Math.round((row.at - from) / step);
      if (nth >= 0) series.rows.set(nth, row);
    }
    at('day-title').textContent = fine ? 'By the second in which lines were counted here' :
      'By the minute in which a line was first received';
    at('unit').textContent = fine ? 'Second ' : 'Minute ';
    at('chart').setAttribute('viewBox', '0 0 ' + count + ' 100');
    at('day').hidden = false;
    drawDay();
  } catch { /* The status says that nobody answers. */ }
}
const lostIn = (row) => sum(Object.values(row.dropped || {})) + (row.kernel_drops || 0);
function rowText(nth) {
  const { from, step, rows } = series;
  const row = rows.get(nth), when = time(from + nth * step, step > 1);
  if (!row) return when + ': no line';
  const lines = row.lines_in || 0, out = row.lines_out || 0, rest = row.not_selected || 0;
  const gone = sum(Object.values(row.dropped || {}));
  const parts = ['in ' + exact(lines), 'out ' + exact(out), 'not selected ' + exact(rest)];
  for (const [why, count] of Object.entries(row.dropped || {})) {
    parts.push('dropped ' + exact(count) + ' (' + why + ')');
  }
  if (row.kernel_drops) parts.push('kernel dropped ' + exact(row.kernel_drops) + ' datagrams');
  const queued = lines - out - rest - gone;
  if (step > 1 && queued > 0) parts.push('queued ' + exact(queued));
  return when + ': ' + parts.join(', ');
}
function drawDay() {
  const most = Math.max(1, ...[...series.rows.values()].map((row) => row.lines_in || 0));
  let lines = '', lost = '';
  const wide = series.count / 480;
  for (const [nth, row] of series.rows) {
    const high = 85 * (row.lines_in || 0) / most;
    if (high) lines += `M${nth} 100h1v${-Math.max(1, high)}h-1z`;
    // Drops hang from the top, wide enough to be seen.
    if (lostIn(row)) {
      const deep = 10 + 30 * Math.min(1, lostIn(row) / most);
      lost += `M${nth - wide / 3} 0h${wide}v${deep}h${-wide}z`;
    }
  }
  const chosenAt = Number(at('minute').value) + .5;
  at('chart').replaceChildren(svg('path', { class: 'in', d: lines }),
    svg('path', { class: 'lost', d: lost }),
    svg('path', { class: 'at', d: `M${chosenAt} 0V100` }));
  drawRow();
  const bad = [...series.rows].filter(([, row]) => lostIn(row)).slice(-8).reverse();
  const pick = (nth) => { at('minute').value = nth; drawDay(); };
  if (at('bad').contains(document.activeElement)) return;
  at('bad').replaceChildren(...bad.map(([nth]) => html('li', {},
    html('button', { class: 'link', click: () => pick(nth) }, rowText(nth)))));
}
function drawRow() {
  const text = rowText(Number(at('minute').value));
  if (at('said').textContent !== text) at('said').textContent = text;
  at('minute').setAttribute('aria-valuetext', text);
}

// ---- the beginning

function draw() {
  if (!now) return;
  drawFigures();
  drawTroubles();
  drawDetail();
  drawFlow();
  drawTable();
}
let heard = null;
async function look() {
  try {
    const answer = await fetch('status.json', { signal: AbortSignal.timeout(5000) });
    if (!answer.ok) throw new Error((await answer.text()).slice(0, 200));
    take(await answer.json());
    heard = Date.now() / 1000;
    at('gone').hidden = true;
    draw();
  } catch (error) {
    const since = heard ? ' since ' + time(heard) : '';
    at('gone').textContent = 'No news from the daemon' + since + ': ' + error.message;
    at('gone').hidden = false;
  }
  document.body.classList.toggle('stale', !at('gone').hidden);
  setTimeout(look, document.hidden ? 5 * EVERY : EVERY);
}
const named = () => location.hash.length > 1 ? decodeURIComponent(location.hash.slice(1)) : null;
head();
chosen = named();
for (const id of ['search', 'only', 'each']) at(id).addEventListener('input', draw);
at('minute').addEventListener('input', drawDay);
at('close').addEventListener('click', () => choose(null));
at('fold').addEventListener('click', fold);
addEventListener('hashchange', () => { if (named() !== chosen) show(named()); });
addEventListener('keydown', (event) => {
  if (event.key === 'Escape' && chosen !== null) choose(null);
  if (event.key === '/' && event.target.tagName !== 'INPUT') {
    event.preventDefault();
    at('search').focus();
  }
});
addEventListener('resize', draw);
look().then(askSeries);
setInterval(() => { if (!document.hidden) askSeries(); }, 15000);
at('fine').addEventListener('input', askSeries);
