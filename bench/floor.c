// The kernel's share of an attachment: replays what was recorded of one ADD or DEL, with nothing around it but system
// calls, and says how long it took. Reads commands from standard input, one a line, and answers each `run` with a line.
//
//   script NAME                      the steps that follow, up to `end`, are NAME
//     container SLOT PATH            opens a namespace
//     enter SLOT | leave             moves this thread into it, and back
//     socket SLOT DOMAIN TYPE PROTO
//     option SLOT LEVEL NAME VALUE   setsockopt with an int
//     exchange SLOT CLOSINGS ABORT FIRST LAST HEX [fd@N | link@N | handle@N | learn=link | learn=handle | SEQ=ERRNO]...
//     sysctl PATH [VALUE]            reads it, and writes VALUE where it has another one
//     close SLOT
//   run NAME                         `ok TOTAL STEP STEP ...` in nanoseconds, or `error WORDS`
//
// An exchange is one datagram and all answers to it. What differs from one attachment to the next is patched: the
// container's descriptor, the index of the host's end (learned from the container's), the handle of the rule.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SLOTS = 64, MARKS = 16, WAIT_MS = 10000 };
enum Mark { PATCH_FD, PATCH_LINK, PATCH_HANDLE, LEARN_LINK, LEARN_HANDLE, EXPECT_ERRNO };

struct Step {
  void (*carry_out)(struct Step*);
  int slot, a, b, c;
  char path[256], value[64];
  unsigned char* bytes;
  size_t size;
  uint32_t closings, first, last;
  int64_t abort;
  int marks;
  struct {
    enum Mark kind;
    uint32_t at;
    int number;
  } mark[MARKS];
  int64_t took;
};

struct Script {
  char name[32];
  struct Step* steps;
  int count;
  struct Script* next;
};

static struct Script* scripts;
static int slots[SLOTS];
static int own_netns, container = -1;
static uint32_t learned_link;
static uint64_t learned_handle;
static unsigned char answer[1 << 20];
static char problem[256];

static void fail(const char* format, ...) {
  va_list arguments;
  if (problem[0]) return;
  va_start(arguments, format);
  vsnprintf(problem, sizeof problem, format, arguments);
  va_end(arguments);
}

static int64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

static void keep(struct Step* step, int fd, const char* call) {
  if (fd < 0) fail("%s %s: %s", call, step->path, strerror(errno));
  slots[step->slot] = fd;
}

static void do_container(struct Step* step) {
  keep(step, container = open(step->path, O_RDONLY | O_CLOEXEC), "open");
}
static void do_enter(struct Step* step) {
  if (setns(slots[step->slot], CLONE_NEWNET) < 0) fail("setns: %s", strerror(errno));
}
static void do_leave(struct Step* step) {
  (void)step;
  if (setns(own_netns, CLONE_NEWNET) < 0) fail("setns: %s", strerror(errno));
}
static void do_socket(struct Step* step) {
  keep(step, socket(step->a, step->b | SOCK_CLOEXEC | SOCK_NONBLOCK, step->c), "socket");
}
static void do_option(struct Step* step) {
  if (setsockopt(slots[step->slot], step->a, step->b, &step->c, sizeof step->c) < 0) {
    fail("setsockopt %d: %s", step->b, strerror(errno));
  }
}
static void do_close(struct Step* step) {
  close(slots[step->slot]);
  slots[step->slot] = -1;
}

static void do_sysctl(struct Step* step) {
  char present[256];
  const int file = open(step->path, (step->value[0] ? O_RDWR : O_RDONLY) | O_CLOEXEC);
  if (file < 0) {
    fail("open %s: %s", step->path, strerror(errno));
    return;
  }
  ssize_t length = read(file, present, sizeof present - 1);
  if (length > 0 && present[length - 1] == '\n') length--;
  present[length < 0 ? 0 : length] = 0;
  if (step->value[0] && strcmp(present, step->value) != 0 && pwrite(file, step->value, strlen(step->value), 0) < 0) {
    fail("write %s: %s", step->path, strerror(errno));
  }
  close(file);
}

// The payload of the first attribute of `type` behind a header of `skip` bytes.
static const unsigned char* attribute(const struct nlmsghdr* message, size_t skip, int type, size_t size) {
  size_t offset = NLMSG_HDRLEN + NLMSG_ALIGN(skip);
  while (offset + NLA_HDRLEN <= message->nlmsg_len) {
    const struct nlattr* found = (const void*)((const char*)message + offset);
    if (found->nla_len < NLA_HDRLEN || offset + found->nla_len > message->nlmsg_len) return NULL;
    if ((found->nla_type & NLA_TYPE_MASK) == type && found->nla_len >= NLA_HDRLEN + size) {
      return (const unsigned char*)found + NLA_HDRLEN;
    }
    offset += NLA_ALIGN(found->nla_len);
  }
  return NULL;
}

static void learn(const struct Step* step, const struct nlmsghdr* message) {
  const unsigned char* value;
  for (int i = 0; i < step->marks; i++) {
    if (step->mark[i].kind == LEARN_LINK && message->nlmsg_type == RTM_NEWLINK) {
      value = attribute(message, sizeof(struct ifinfomsg), IFLA_LINK, 4);
      if (value) memcpy(&learned_link, value, 4);
    }
    // The last rule of a listing is the newest.
    if (step->mark[i].kind == LEARN_HANDLE && message->nlmsg_type == (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWRULE)) {
      value = attribute(message, sizeof(struct nfgenmsg), NFTA_RULE_HANDLE, 8);
      if (value) memcpy(&learned_handle, value, 8);
    }
  }
}

static int expected_errno(const struct Step* step, uint32_t seq) {
  for (int i = 0; i < step->marks; i++)
    if (step->mark[i].kind == EXPECT_ERRNO && step->mark[i].at == seq) return step->mark[i].number;
  return 0;
}

static void do_exchange(struct Step* step) {
  const int fd = slots[step->slot];
  struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
  uint32_t closings = 0;
  int aborted = 0;
  for (int i = 0; i < step->marks; i++) {
    unsigned char* target = step->bytes + step->mark[i].at;
    if (step->mark[i].kind == PATCH_FD) memcpy(target, &container, 4);
    if (step->mark[i].kind == PATCH_LINK) memcpy(target, &learned_link, 4);
    if (step->mark[i].kind == PATCH_HANDLE) memcpy(target, &learned_handle, 8);
  }
  if (sendto(fd, step->bytes, step->size, 0, (struct sockaddr*)&kernel, sizeof kernel) < 0) {
    fail("sendto: %s", strerror(errno));
    return;
  }
  while (closings < step->closings && !aborted) {
    const ssize_t size = recv(fd, answer, sizeof answer, MSG_DONTWAIT);
    if (size < 0 && errno == EAGAIN) {
      struct pollfd wanted = {fd, POLLIN, 0};
      if (poll(&wanted, 1, WAIT_MS) <= 0) {
        fail("no answer within %d ms", WAIT_MS);
        return;
      }
      continue;
    }
    if (size < 0) {
      fail("recv: %s", strerror(errno));
      return;
    }
    int left = (int)size;
    for (struct nlmsghdr* message = (void*)answer; NLMSG_OK(message, left); message = NLMSG_NEXT(message, left)) {
      const int is_error = message->nlmsg_type == NLMSG_ERROR;
      const int number = is_error ? -((struct nlmsgerr*)NLMSG_DATA(message))->error : 0;
      if (is_error && number && message->nlmsg_seq == step->abort) aborted = 1;
      if (message->nlmsg_seq - step->first > step->last - step->first) continue;
      if (is_error && number != expected_errno(step, message->nlmsg_seq)) {
        fail("message %u: %s instead of %s", message->nlmsg_seq - step->first, strerror(number),
             strerror(expected_errno(step, message->nlmsg_seq)));
      }
      if (is_error || message->nlmsg_type == NLMSG_DONE) closings++;
      else learn(step, message);
    }
  }
}

static void run(struct Script* script) {
  problem[0] = 0;
  const int64_t start = now();
  int64_t before = start;
  for (int i = 0; i < script->count && !problem[0]; i++) {
    struct Step* step = &script->steps[i];
    step->carry_out(step);
    const int64_t after = now();
    step->took = after - before;
    before = after;
    if (problem[0]) {
      printf("error %s, step %d: %s\n", script->name, i + 1, problem);
      // Whatever happened, the next script starts at home.
      do_leave(step);
      return;
    }
  }
  printf("ok %lld", (long long)(before - start));
  for (int i = 0; i < script->count; i++) printf(" %lld", (long long)script->steps[i].took);
  printf("\n");
}

static void parse_mark(struct Step* step, const char* word) {
  const int i = step->marks++;
  if (i >= MARKS) exit(3);
  if (sscanf(word, "fd@%u", &step->mark[i].at) == 1) step->mark[i].kind = PATCH_FD;
  else if (sscanf(word, "link@%u", &step->mark[i].at) == 1) step->mark[i].kind = PATCH_LINK;
  else if (sscanf(word, "handle@%u", &step->mark[i].at) == 1) step->mark[i].kind = PATCH_HANDLE;
  else if (strcmp(word, "learn=link") == 0) step->mark[i].kind = LEARN_LINK;
  else if (strcmp(word, "learn=handle") == 0) step->mark[i].kind = LEARN_HANDLE;
  else if (sscanf(word, "%u=%d", &step->mark[i].at, &step->mark[i].number) == 2) step->mark[i].kind = EXPECT_ERRNO;
  else exit(3);
}

static unsigned char* parse_hex(const char* hex, size_t* size) {
  *size = strlen(hex) / 2;
  unsigned char* bytes = malloc(*size);
  for (size_t i = 0; bytes && i < *size; i++) sscanf(hex + 2 * i, "%2hhx", &bytes[i]);
  return bytes;
}

static const char* word(void) {
  const char* found = strtok(NULL, " \n");
  return found ? found : "";
}

static int parse_step(struct Step* step, const char* kind) {
  memset(step, 0, sizeof *step);
  if (strcmp(kind, "leave") == 0) {
    step->carry_out = do_leave;
    return 1;
  }
  if (strcmp(kind, "sysctl") == 0) {
    step->carry_out = do_sysctl;
    snprintf(step->path, sizeof step->path, "%s", word());
    snprintf(step->value, sizeof step->value, "%s", word());
    return 1;
  }
  step->slot = atoi(word());
  if (step->slot < 0 || step->slot >= SLOTS) return 0;
  if (strcmp(kind, "container") == 0) {
    step->carry_out = do_container;
    snprintf(step->path, sizeof step->path, "%s", word());
  } else if (strcmp(kind, "enter") == 0) {
    step->carry_out = do_enter;
  } else if (strcmp(kind, "close") == 0) {
    step->carry_out = do_close;
  } else if (strcmp(kind, "socket") == 0 || strcmp(kind, "option") == 0) {
    step->carry_out = kind[0] == 's' ? do_socket : do_option;
    step->a = atoi(word());
    step->b = atoi(word());
    step->c = atoi(word());
  } else if (strcmp(kind, "exchange") == 0) {
    step->carry_out = do_exchange;
    step->closings = (uint32_t)atoi(word());
    step->abort = atoll(word());
    step->first = (uint32_t)strtoul(word(), NULL, 10);
    step->last = (uint32_t)strtoul(word(), NULL, 10);
    step->bytes = parse_hex(word(), &step->size);
    for (const char* mark = word(); *mark; mark = word()) parse_mark(step, mark);
  } else {
    return 0;
  }
  return 1;
}

static struct Script* find(const char* name) {
  for (struct Script* script = scripts; script; script = script->next)
    if (strcmp(script->name, name) == 0) return script;
  return NULL;
}

int main(void) {
  char* line = NULL;
  size_t room = 0;
  struct Script* reading = NULL;
  for (int i = 0; i < SLOTS; i++) slots[i] = -1;
  own_netns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  setvbuf(stdout, NULL, _IOLBF, 0);
  while (getline(&line, &room, stdin) > 0) {
    const char* kind = strtok(line, " \n");
    if (!kind) continue;
    if (strcmp(kind, "script") == 0) {
      const char* name = word();
      reading = find(name);
      if (!reading) {
        reading = calloc(1, sizeof *reading);
        if (!reading) return 3;
        snprintf(reading->name, sizeof reading->name, "%s", name);
        reading->next = scripts;
        scripts = reading;
      }
      reading->count = 0;
    } else if (strcmp(kind, "end") == 0) {
      reading = NULL;
    } else if (strcmp(kind, "run") == 0) {
      struct Script* script = find(word());
      if (script) run(script);
      else printf("error no such script\n");
    } else {
      if (!reading) return 3;
      reading->steps = realloc(reading->steps, (size_t)(reading->count + 1) * sizeof *reading->steps);
      if (!reading->steps || !parse_step(&reading->steps[reading->count++], kind)) return 3;
    }
  }
  return 0;
}
