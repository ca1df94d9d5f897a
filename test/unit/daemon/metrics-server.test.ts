import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { type Agent, type IncomingHttpHeaders, request } from 'node:http'
import { connect, createServer, type NetConnectOpts } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, onTestFinished, test } from 'vitest'
import type { MetricsAddress } from '../../../daemon/metrics-address.ts'
import { parseMetricsAddress, printMetricsAddress } from '../../../daemon/metrics-address.ts'
import type { MetricsText } from '../../../daemon/metrics-registry.ts'
import { type MetricsServer, serveMetrics } from '../../../daemon/metrics-server.ts'

const folder = mkdtempSync(join(tmpdir(), 'linkwright-metrics-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const text = (more: Partial<MetricsText> = {}): MetricsText & { closed: number } => {
  const one = {
    closed: 0,
    contentType: 'text/plain; version=0.0.4; charset=utf-8',
    text: async () => 'up 1\n',
    close: () => {
      one.closed++
    },
    ...more,
  }
  return one
}

const serve = async (
  metrics: MetricsText = text(),
  where: MetricsAddress = { host: '127.0.0.1', port: 0 },
): Promise<MetricsServer & { readonly to: NetConnectOpts }> => {
  const server = await serveMetrics(metrics, where)
  onTestFinished(() => server.close())
  const port = Number(/:(\d+)$/.exec(server.address)?.[1])
  return { ...server, to: 'path' in where ? { path: where.path } : { host: where.host, port } }
}

interface Answer {
  readonly status: number | undefined
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

const ask = (
  to: NetConnectOpts,
  { path = '/metrics', ...more }: { path?: string; method?: string; body?: string; agent?: Agent } = {},
): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const target = 'path' in to ? { socketPath: to.path } : to
    const asked = request({ ...target, path, ...more }, (response) => {
      let body = ''
      response.on('data', (chunk) => {
        body += chunk
      })
      response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, body }))
    })
    asked.on('error', reject)
    asked.end(more.body)
  })

/** Bytes as they are; what comes back until the other end closes. */
const raw = (to: NetConnectOpts, bytes: string): Promise<string> =>
  new Promise((resolve) => {
    let said = ''
    const socket = connect(to, () => socket.write(bytes))
    socket.on('data', (chunk) => {
      said += chunk
    })
    socket.on('error', () => {})
    socket.on('close', () => resolve(said))
  })

describe('where', () => {
  test.each([
    ['unix:/run/linkwright/metrics.sock', { path: '/run/linkwright/metrics.sock' }],
    ['127.0.0.1:9123', { host: '127.0.0.1', port: 9123 }],
    ['0.0.0.0:0', { host: '0.0.0.0', port: 0 }],
    ['[::1]:65535', { host: '::1', port: 65535 }],
  ])('%s', (written, address) => {
    expect(parseMetricsAddress(written)).toEqual(address)
    expect(printMetricsAddress(address)).toBe(written)
  })

  test.each([
    ['', 'none of unix:PATH'],
    ['9123', 'none of unix:PATH'],
    [':9123', 'no IPv4 address'],
    ['localhost:9123', 'no IPv4 address'],
    ['::1:9123', 'none of unix:PATH'],
    ['[127.0.0.1]:1', 'no IPv6 address'],
    ['[::1]', 'none of unix:PATH'],
    ['127.0.0.1:65536', 'no port'],
    ['127.0.0.1:-1', 'none of unix:PATH'],
    ['unix:relative', 'no absolute path'],
    ['unix:', 'no absolute path'],
    ['unix:/run/', 'is a directory'],
    ['unix:/a\0b', 'no absolute path'],
    [`unix:/${'x'.repeat(107)}`, 'at most 107 bytes'],
  ])('%j is nowhere', (written, why) => {
    expect(parseMetricsAddress(written)).toMatch(why)
  })
})

describe('GET /metrics', () => {
  test('on IPv4, on IPv6 and on a unix socket', async () => {
    const path = join(folder, 'made/metrics.sock')
    for (const where of [{ host: '127.0.0.1', port: 0 }, { host: '::1', port: 0 }, { path }]) {
      const server = await serve(text(), where)
      const { status, headers, body } = await ask(server.to)
      expect([status, body]).toEqual([200, 'up 1\n'])
      expect(headers).toMatchObject({
        'content-type': 'text/plain; version=0.0.4; charset=utf-8',
        'content-length': '5',
      })
      expect(server.address).toEqual(
        'path' in where ? `unix:${path}` : expect.stringMatching(/^(127\.0\.0\.1|\[::1\]):[1-9]\d*$/),
      )
    }
    expect(statSync(path).mode & 0o777).toBe(0o660)
    expect(statSync(join(folder, 'made')).mode & 0o777).toBe(0o700)
  })

  test('with a query, and many times on one connection', async () => {
    const { to } = await serve()
    const twice = 'GET /metrics?name=up HTTP/1.1\r\nHost: x\r\n\r\n'
    const said = await raw(to, `${twice}${twice.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n')}`)
    expect(said.match(/HTTP\/1\.1 200 OK/g)).toHaveLength(2)
  })

  test.each([
    [{ path: '/' }, 404],
    [{ path: '/metrics/' }, 404],
    [{ path: '/metricsx' }, 404],
    [{ method: 'POST' }, 405],
    [{ method: 'HEAD' }, 405],
    [{ method: 'DELETE' }, 405],
    [{ method: 'POST', body: 'x' }, 405],
  ])('nothing else: %j', async (what, status) => {
    const { to } = await serve()
    const answer = await ask(to, what)
    expect(answer.status).toBe(status)
    if (status === 405) expect(answer.headers.allow).toBe('GET')
  })

  test('a question that brings a body', async () => {
    const { to } = await serve()
    for (const head of ['Content-Length: 1\r\n\r\nx', 'Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n'])
      expect(await raw(to, `GET /metrics HTTP/1.1\r\nHost: x\r\n${head}`)).toMatch(/^HTTP\/1\.1 413 /)
  })

  test('a head that is too long, and what is no HTTP', async () => {
    const { to } = await serve()
    expect(await raw(to, `GET /metrics HTTP/1.1\r\nHost: x\r\nA: ${'a'.repeat(9000)}\r\n\r\n`)).toMatch(
      /^HTTP\/1\.1 431 /,
    )
    expect(await raw(to, 'LNKWRGHT\0\0\0\0\r\n\r\n')).toMatch(/^HTTP\/1\.1 400 /)
  })

  test('what can not be collected is 500, and the next one is answered', async () => {
    let broken = true
    const { to } = await serve(
      text({
        text: async () => {
          if (broken) throw new Error('secret')
          return 'up 1\n'
        },
      }),
    )
    const answer = await ask(to)
    expect(answer.status).toBe(500)
    expect(answer.body).not.toMatch('secret')
    broken = false
    expect((await ask(to)).status).toBe(200)
  })

  test('no more than 16 connections at a time', async () => {
    const { to } = await serve()
    const idle = Array.from({ length: 16 }, () => connect(to))
    onTestFinished(() => {
      for (const socket of idle) socket.destroy()
    })
    await Promise.all(idle.map((socket) => new Promise((resolve) => socket.once('connect', resolve))))
    expect(await raw(to, 'GET /metrics HTTP/1.0\r\n\r\n')).toBe('')
    idle[0]!.destroy()
    for (let said = ''; said === ''; ) said = await raw(to, 'GET /metrics HTTP/1.0\r\n\r\n')
  })
})

describe('its end', () => {
  test('cuts off who is connected, removes the socket, stops looking at the loop; twice is once', async () => {
    const path = join(folder, 'end.sock')
    const metrics = text()
    const server = await serve(metrics, { path })
    const cut = raw({ path }, 'GET /met')
    await ask({ path })
    await Promise.all([server.close(), server.close()])
    expect(await cut).toBe('')
    expect(existsSync(path)).toBe(false)
    expect(metrics.closed).toBe(1)
  })
})

describe('a place that is taken', () => {
  test('a port', async () => {
    const first = await serve()
    const { port } = first.to as { port: number }
    await expect(serveMetrics(text(), { host: '127.0.0.1', port })).rejects.toMatchObject({
      code: 5,
      msg: expect.stringMatching(/^metrics: listen 127\.0\.0\.1:\d+: .*EADDRINUSE/),
    })
  })

  test('an address that the machine does not have', async () => {
    await expect(serveMetrics(text(), { host: '192.0.2.1', port: 0 })).rejects.toMatchObject({
      code: 5,
      msg: expect.stringMatching('EADDRNOTAVAIL'),
    })
  })

  test('a file, a live socket; a stale one is replaced', async () => {
    const file = join(folder, 'file')
    writeFileSync(file, 'mine')
    await expect(serveMetrics(text(), { path: file })).rejects.toMatchObject({ code: 5 })
    const live = join(folder, 'live')
    const other = createServer().listen(live)
    await new Promise((resolve) => other.once('listening', resolve))
    onTestFinished(() => void other.close())
    await expect(serveMetrics(text(), { path: live })).rejects.toMatchObject({ code: 5 })
    const again = await serve(text(), { path: join(folder, 'again') })
    expect((await ask(again.to)).status).toBe(200)
  })
})
