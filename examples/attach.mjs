// Attaches a namespace to a network and detaches it again, in process. Needs root.
// usage: node attach.mjs CONFLIST NETNS, e.g. node attach.mjs /etc/cni/net.d/10-mynet.conflist /run/netns/blue
import { readFileSync } from 'node:fs'
import { openHost, parseConfList, runChain } from 'linkwright/cni'
import { plugins } from 'linkwright/plugins'

const [, , conflist, netnsPath] = process.argv
if (!conflist || !netnsPath) {
  console.error('usage: node attach.mjs CONFLIST NETNS')
  process.exit(2)
}
const host = openHost({ plugins })
try {
  const network = parseConfList(readFileSync(conflist, 'utf8'))
  const target = { network, host, containerId: 'example-1', ifName: 'eth0', netnsPath }
  const { result } = await runChain({ ...target, verb: 'ADD' })
  console.log(JSON.stringify(result, null, 2))
  await runChain({ ...target, verb: 'DEL' })
} finally {
  host.close()
}
