// Runs the public suite for HTTP caches against outboard and says whether what passes is enough: `make conformance`.
import { spawn } from 'node:child_process'
import fs from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'

import { KINDS, complaints, knownSuite, least, onPurpose, score } from './score.mjs'

const HERE = path.dirname(fileURLToPath(import.meta.url))
const ROOT = path.resolve(HERE, '../..')
const SCRATCH = path.join(ROOT, 'target/conformance')
const USAGE = `usage: node tests/conformance/run.mjs [options]
  --id ID             run one test and show its requests and responses, as the client and the origin saw them
  --outboard FILE     the binary (target/debug/outboard)
  --config FILE       its configuration (tests/conformance/outboard.yaml)
  --suite DIR         another copy of the suite (the one that npm installed)
  --timeout SECONDS   end the run after so long (100)
  --base URL          test the proxy that answers there instead of outboard …
  --origin-port PORT  … and has the suite's origin on this port`

const children = []

/** Kills what was started. Nothing here has a state worth a graceful end. */
function stopAll () {
  for (const { child } of children) child.kill('SIGKILL')
}
process.on('exit', stopAll)
for (const [signal, number] of [['SIGINT', 2], ['SIGTERM', 15], ['SIGHUP', 1]]) process.on(signal, () => process.exit(128 + number))

/** Starts a child and keeps what it prints; `output` is whole once `ended` is. */
function start (name, command, args, options) {
  const child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] })
  const started = { name, child, stdout: '', output: '' }
  child.stdout.setEncoding('utf8').on('data', text => { started.stdout += text; started.output += text })
  child.stderr.setEncoding('utf8').on('data', text => { started.output += text })
  started.ended = new Promise(resolve => {
    child.on('error', error => { started.output += `${error.message}\n`; resolve('could not be started') })
    child.on('close', (code, signal) => resolve(signal ? `was ended by ${signal}` : `ended with exit code ${code}`))
  })
  children.push(started)
  return started
}

/** Waits until the child has printed what `find` looks for, and returns that. */
function printed (started, find) {
  const look = new Promise(resolve => {
    const again = () => { const found = find(started.stdout); if (found) resolve(found) }
    started.child.stdout.on('data', again)
    again()
  })
  const over = started.ended.then(how => { throw new Error(`${started.name} ${how} before it was ready:\n${started.output}`) })
  return Promise.race([look, over])
}

/** npm's way of telling the suite its settings; all are set, so that no setting of the environment gets through. */
function settings (values) {
  const env = { ...process.env }
  for (const [name, value] of Object.entries({ base: '', id: '', protocol: 'http', ...values })) {
    env[`npm_config_${name}`] = value
    env[`npm_package_config_${name}`] = value
  }
  return env
}

async function exists (file) {
  return fs.access(file).then(() => true, () => false)
}

/** Where the suite's programs are: its repository has them in a folder that its package has not. */
async function engineOf (suite) {
  for (const engine of [suite, path.join(suite, 'test-engine')]) {
    if (await exists(path.join(engine, 'cli.mjs'))) return engine
  }
  throw new Error(`no suite in ${suite}: run it with make conformance, which installs it`)
}

async function startOrigin (suite, engine, port) {
  const env = settings({ port, pidfile: path.join(SCRATCH, 'origin.pid') })
  const origin = start('the origin', process.execPath, [path.join(engine, 'server/server.mjs')], { cwd: suite, env })
  return { origin, port: await printed(origin, text => text.match(/Listening on \S+:(\d+)\//)?.[1]) }
}

async function startOutboard (binary, config, originPort) {
  const env = { ...process.env, OUTBOARD_CONFORMANCE_ORIGIN: originPort, XDG_RUNTIME_DIR: SCRATCH }
  const outboard = start('outboard', binary, ['run', '--config', config], { env })
  const listening = text => text.split('\n').filter(line => line.includes('"listening"')).map(line => JSON.parse(line).address)[0]
  return { outboard, base: `http://${await printed(outboard, listening)}` }
}

/** Runs the suite's client to its end and returns what it printed. */
async function runClient (suite, engine, values, timeout) {
  const args = ['--no-warnings', path.join(engine, 'cli.mjs')]
  const client = start('the suite', process.execPath, args, { cwd: suite, env: settings(values) })
  let timer
  const late = new Promise((resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`the suite did not end within ${timeout} s: a request was not answered`)), timeout * 1000)
  })
  // If another child ends first, there will be no results worth reading.
  const others = children.filter(other => other !== client)
    .map(other => other.ended.then(how => { throw new Error(`${other.name} ${how} during the run:\n${other.output}`) }))
  const how = await Promise.race([client.ended, late, ...others])
  clearTimeout(timer)
  if (client.child.exitCode !== 0) throw new Error(`the suite ${how}:\n${client.output}`)
  return client.stdout
}

function report (outcome, named, known) {
  for (const kind of KINDS) {
    const tests = outcome.notPassed.filter(test => test.kind === kind)
    if (tests.length > 0) console.log(`\n${kind}, not passed:`)
    for (const { id, state, message } of tests) {
      console.log(`  ${id}: ${state}${named.has(id) ? ', on purpose' : ''}\n    ${message}`)
    }
  }
  const needless = [...named].filter(id => outcome.passed.has(id))
  if (needless.length > 0) console.log(`\npassed, though docs/conformance.md names them: ${needless.join(', ')}`)
  console.log(`\nconformance: ${known ? known.name : 'an unknown suite'}`)
  for (const kind of KINDS) {
    const { total, passed, failed, skipped, missing } = outcome.kinds[kind]
    const wanted = known ? ` (at least ${least(known, kind)})` : ''
    console.log(`  ${kind.padEnd(8)} ${passed} of ${total}${wanted}: ${failed} failed, ${skipped} skipped, ${missing} missing`)
  }
}

async function main () {
  const string = { type: 'string' }
  const names = ['id', 'outboard', 'config', 'suite', 'timeout', 'base', 'origin-port']
  const { values: given } = parseArgs({ options: { ...Object.fromEntries(names.map(name => [name, string])), help: { type: 'boolean' } } })
  if (given.help) return console.log(USAGE)
  const suite = path.resolve(given.suite ?? path.join(HERE, 'node_modules/http-cache-tests'))
  const engine = await engineOf(suite)
  const groups = (await import(pathToFileURL(path.join(suite, 'tests/index.mjs')))).default
  if (given.id !== undefined && !groups.some(group => group.tests.some(test => test.id === given.id))) {
    throw new Error(`the suite has no test ${given.id}`)
  }
  await fs.mkdir(SCRATCH, { recursive: true })

  const { origin, port } = await startOrigin(suite, engine, given['origin-port'] ?? '0')
  let base = given.base?.replace(/\/$/, '')
  if (base === undefined) {
    const binary = path.resolve(given.outboard ?? path.join(ROOT, 'target/debug/outboard'))
    const config = path.resolve(given.config ?? path.join(HERE, 'outboard.yaml'))
    base = (await startOutboard(binary, config, port)).base
  }
  console.log(`conformance: the suite's client to ${base}, its origin at port ${port}`)
  const timeout = Number(given.timeout ?? 100)
  const printedByClient = await runClient(suite, engine, { base, id: given.id ?? '' }, timeout)
  if (given.id !== undefined) {
    console.log(`${origin.output}\n${printedByClient}`)
    return
  }

  const file = path.join(SCRATCH, 'results.json')
  await fs.writeFile(file, printedByClient)
  const outcome = score(groups, JSON.parse(printedByClient))
  const named = onPurpose(await fs.readFile(path.join(ROOT, 'docs/conformance.md'), 'utf8'))
  report(outcome, named, knownSuite(outcome.kinds))
  console.log(`  results: ${path.relative(process.cwd(), file)}`)
  const found = complaints(outcome, named)
  for (const complaint of found) console.error(`conformance: ${complaint}`)
  process.exitCode = found.length > 0 ? 1 : 0
}

main().catch(error => {
  console.error(`conformance: ${error.message}`)
  process.exitCode = 1
}).finally(() => process.exit())
