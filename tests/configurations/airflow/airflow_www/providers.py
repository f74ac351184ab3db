"""What the arbiter loads before it forks."""


def load(log):
    log.info("providers are loaded before the fork")
